"""The sampler of Optuna."""

import pickle

import pytest

import evoprune

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    x = trial.suggest_float("x", -3, 3)
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    width = trial.suggest_int("width", 8, 64, step=8)
    depth = trial.suggest_int("depth", 1, 100, log=True)
    share = trial.suggest_float("share", 0.1, 0.7, step=0.1)
    kind = trial.suggest_categorical("kind", ["a", None, "c"])
    trial.suggest_categorical("only", ["one"])
    return x**2 + abs(rate - 0.01) + abs(width - 24) / 8 + abs(depth - 20) / 20 + abs(share - 0.4) + (kind is not None)


def study_of(*trials, **more):
    study = optuna.create_study(sampler=evoprune.OptunaSampler(seed=1), **more)
    for count in trials:
        study.optimize(objective, count)
    return study


def test_a_study_finds_more_than_at_random_and_is_repeated_by_its_seed():
    study = study_of(150)
    others = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
    others.optimize(objective, 150)
    assert study.best_value < others.best_value / 3
    assert study.best_params["kind"] is None
    assert [trial.params for trial in study.trials] == [trial.params for trial in study_of(150).trials]


def test_parallel_trials_told_in_any_order_are_all_different_and_learned_from():
    study = study_of(1)
    asked = []
    for _ in range(30):
        trials = [study.ask() for _ in range(5)]
        values = [objective(trial) for trial in trials]
        asked += [tuple(trial.params.values()) for trial in trials]
        for trial, value in [*zip(trials, values, strict=True)][::-1]:
            study.tell(trial, value)
    assert len({*asked}) > 0.9 * len(asked)
    study.sampler.sample_relative(study, study.ask()._cached_frozen_trial, study.sampler._space)
    assert study.sampler._search.evaluations > 140


def test_failed_and_pruned_trials_are_failures_and_a_parameter_that_some_lack_is_drawn_at_random():
    def fragile(trial):
        x = trial.suggest_float("x", -1, 1)
        if trial.number % 3 == 1:
            raise optuna.TrialPruned
        if x > 0.5:
            raise ValueError
        return x + (trial.suggest_float("y", 0, 1) if x < 0 else 0)

    study = optuna.create_study(sampler=evoprune.OptunaSampler())
    study.optimize(fragile, 60, catch=ValueError)
    assert {*study.sampler._space} == {"x"}
    assert study.best_params["x"] < -0.8
    assert study.sampler._search.best[1][0] == study.best_value


def test_several_objectives_have_directions_of_their_own():
    def two(trial):
        x = trial.suggest_float("x", -2, 2)
        return x**2, -((x - 1) ** 2)

    study = optuna.create_study(directions=["minimize", "maximize"], sampler=evoprune.OptunaSampler())
    study.optimize(two, 200)
    near = [trial for trial in study.trials[100:] if -0.1 < trial.params["x"] < 1.1]
    assert len(near) > 60


def test_trials_of_another_sampler_are_read_and_a_pickled_sampler_goes_on():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(3))
    study.optimize(objective, 50)
    best = study.best_params
    study.sampler = evoprune.OptunaSampler()
    study.optimize(objective, 30)
    assert study.sampler._search.evaluations >= 79
    assert study.sampler._search._arguments["initial"][0][0] in best.values()
    study.sampler = pickle.loads(pickle.dumps(study.sampler))
    study.optimize(objective, 20)
    assert study.sampler._search.evaluations >= 99
    found = evoprune.minimize(lambda x: x**2, [evoprune.Gene("x", -3, 3)], initial=[{"x": best["x"]}], evaluations=20)
    assert found.history[0][0] == [best["x"]] or found.history[0][0] == (best["x"],)
