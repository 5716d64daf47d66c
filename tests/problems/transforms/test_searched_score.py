"""The cut by a searched score: the transform's contract, and weights cut as a score of one metric would cut them."""

import pytest
import torch

from evoprune import InputError
from problems.testing.transforms import check_transform
from problems.transforms.metric import Metric
from tests.problems.small import ARCHITECTURES, problem_in, weights_of


@pytest.fixture
def metric(language_model):
    """Makes the transform on the small model."""
    return lambda **settings: language_model(transforms={"use": "metric"} | settings).session.transform


@pytest.mark.parametrize(
    "architecture", ["gpt2", *(pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES[1:])]
)
def test_the_contract_is_kept_by_each_architecture(language_model, architecture, tmp_path):
    check_transform(language_model(**problem_in(tmp_path, architecture), transforms="metric").session, pairs=3)


@pytest.mark.parametrize(
    ("name", "known"), [("wanda", Metric()), ("ria", Metric("identity", "relative", "sqrt", "one"))]
)
def test_a_known_score_cuts_the_same_weights(metric, pruning, name, known):
    cut, searched = pruning(score=name).session.transform, metric()
    sparsities = [0.2, 0.5, 0.7]
    cut.apply(sparsities)
    searched.apply([*known.genome, *sparsities])
    assert all(map(torch.equal, weights_of(cut.resident.model), weights_of(searched.resident.model)))


def test_metrics_that_were_forgotten_are_ranked_again(metric, monkeypatch):
    monkeypatch.setattr("problems.transforms.metric._KEPT", 50_000)
    made = metric(scope="group")
    levels = 2 * made.resident.prunable_weights
    genomes = [[*Metric("sqrt", "row", "log", "mean").genome, 0.3, 0.4, 0.5]]
    genomes += [[float(level), 0.0, 1.0, 2.0, 0.3, 0.4, 0.5] for level in range(7)]
    genomes += [[float(level), 5.0, 1.0, 2.0, 0.3, 0.4, 0.5] for level in range(7)]
    made.apply(genomes[0])
    before, marks = weights_of(made.resident.model), made.marks()
    for genome in genomes[1:]:
        made.apply(genome)
        assert made.marks() != marks
        assert len(made._recent) * levels <= max(50_000, levels) < len(genomes) * levels
    assert not all(map(torch.equal, weights_of(made.resident.model), before))
    made.apply(genomes[0])
    assert all(map(torch.equal, weights_of(made.resident.model), before))


def test_the_metric_costs_nothing_and_is_told(metric):
    made = metric()
    prices, total = made.prices("weights")
    assert prices[:4] == [0.0] * 4
    assert -sum(prices) == total
    made.apply([*Metric("sqrt", "row", "log", "mean").genome, 0.3, 0.4, 0.5])
    assert made.measures()["metric"] == "sqrt(|W| row) log(|x| mean)"
    assert made.describe()["scores"]["mlp.c_fc"] == "searched by row"


def test_updates_are_those_of_the_metric(metric):
    made = metric(reconstruct="sparsegpt", reconstruct_mask="score")
    found = []
    for known in (Metric(), Metric("identity", "relative", "sqrt", "one"), Metric()):
        made.finalise([*known.genome, 0.5, 0.5, 0.5])
        found.append(weights_of(made.resident.model))
    assert all(map(torch.equal, found[0], found[2]))
    assert not all(map(torch.equal, found[0], found[1]))


@pytest.mark.parametrize("setting", [{"score": "ria"}, {"scores": {"mlp.c_fc": "ria"}}, {"reconstruct_stages": [0.5]}])
def test_a_score_of_ones_own_is_refused(metric, setting):
    with pytest.raises((InputError, ValueError), match=f"leave out {next(iter(setting))}"):
        metric(**setting | ({"reconstruct": "sparsegpt"} if "reconstruct_stages" in setting else {}))
