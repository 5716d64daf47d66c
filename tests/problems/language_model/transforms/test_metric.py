"""Metrics: each part against its definition, and weights cut by a metric as by a known score."""

from itertools import product

import numpy
import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.scores.builtin import ria, wanda
from evoprune.problems.language_model.testing import check_transform
from evoprune.problems.language_model.transforms.metric import PARTS, Metric
from tests.problems.language_model.small import weights_of

ROWS, COLUMNS = 4, 6


@pytest.fixture
def layer():
    """A weight ``(out, in)`` and its inputs' norms, float64."""
    generator = torch.Generator().manual_seed(0)
    weight, norms = torch.randn(ROWS, COLUMNS, generator=generator), torch.rand(COLUMNS, generator=generator)
    return weight.double(), 3 * norms.double()


FUNCTIONS = {
    "exp": lambda values: numpy.exp(values - values.max()),
    "square": lambda values: values**2,
    "identity": lambda values: values,
    "sqrt": numpy.sqrt,
    "log": lambda values: numpy.log(1 + values),
    "tanh": numpy.tanh,
    "sigmoid": lambda values: 1 / (1 + numpy.exp(-values)),
}
OF_WEIGHTS = {
    "sum": lambda size: 1 / size.sum(),
    "norm": lambda size: (size**2).sum() ** -0.5,
    "row": lambda size: 1 / size.sum(1)[:, None],
    "column": lambda size: 1 / size.sum(0),
    "relative": lambda size: 1 / size.sum(1)[:, None] + 1 / size.sum(0),
    "mean": lambda size: size.size / size.sum(),
    "one": lambda size: 1.0,
}
OF_INPUTS = {
    "sum": lambda norms: 1 / norms.sum(),
    "norm": lambda norms: (norms**2).sum() ** -0.5,
    "max": lambda norms: 1 / norms.max(),
    "rms": lambda norms: (norms**2).mean() ** -0.5,
    "mean": lambda norms: 1 / norms.mean(),
    "mean_root": lambda norms: numpy.sqrt(norms).mean() ** -2,
    "one": lambda norms: 1.0,
}


@pytest.mark.parametrize("place", range(4), ids=[*PARTS])
def test_each_part_is_as_defined(layer, place):
    size, norms = abs(layer[0].numpy()), layer[1].numpy()
    for part in [*PARTS.values()][place]:
        for others in ("identity", "one", "identity", "one"), ("tanh", "mean", "log", "mean"):
            metric = Metric(*[*others[:place], part, *others[place + 1 :]])
            expected = FUNCTIONS[metric.weight_transform](size * OF_WEIGHTS[metric.weight_coefficient](size))
            expected = expected * FUNCTIONS[metric.input_transform](norms * OF_INPUTS[metric.input_coefficient](norms))
            assert metric.score(*layer).numpy() == pytest.approx(expected, rel=1e-9)


RIA = Metric("identity", "relative", "sqrt", "one")


def test_wanda_and_ria_are_among_them(layer):
    weight, norms = layer
    assert torch.equal(Metric().score(weight, norms), wanda(weight, input_norms=norms))
    assert torch.allclose(RIA.score(weight, norms), ria(weight, input_norms=norms))


def test_every_metric_is_finite_whatever_the_layer():
    weight = torch.randn(ROWS, COLUMNS)
    weight[1], weight[:, 2] = 0.0, 0.0
    for weights, norms in product((weight, 0 * weight), (torch.zeros(COLUMNS), torch.full((COLUMNS,), 1e6))):
        for parts in product(*PARTS.values()):
            assert torch.isfinite(Metric(*parts).score(weights, norms)).all()


@pytest.fixture
def metric(language_model):
    """Makes the transform on the small model."""
    return lambda **settings: language_model(transforms={"use": "metric"} | settings).session.transform.transforms[0]


def test_the_contract_is_kept(language_model):
    check_transform(language_model(transforms="metric").session, pairs=3)


@pytest.mark.parametrize(("name", "known"), [("wanda", Metric()), ("ria", RIA)])
def test_a_known_score_cuts_the_same_weights(metric, pruning, name, known):
    cut, searched = pruning(score=name).session.transform.transforms[0], metric()
    cut.apply([0.2, 0.5, 0.7])
    searched.apply([*known.genome, 0.2, 0.5, 0.7])
    assert all(map(torch.equal, weights_of(cut.resident.model), weights_of(searched.resident.model)))


def test_metrics_that_were_forgotten_are_ranked_again(metric, monkeypatch):
    monkeypatch.setattr("evoprune.problems.language_model.transforms.metric._KEPT", 50_000)
    made = metric()
    levels = 2 * made.resident.prunable_weights
    genomes = [[*Metric("sqrt", "row", "log", "mean").genome, 0.3, 0.4, 0.5]]
    genomes += [[float(level), other, 1.0, 2.0, 0.3, 0.4, 0.5] for level in range(7) for other in (0.0, 5.0)]
    made.apply(genomes[0])
    before, fingerprints = weights_of(made.resident.model), made.block_fingerprints()
    for genome in genomes[1:]:
        made.apply(genome)
        assert made.block_fingerprints() != fingerprints
        assert len(made._recent) * levels <= max(50_000, levels) < len(genomes) * levels
    made.apply(genomes[0])
    assert all(map(torch.equal, weights_of(made.resident.model), before))


@pytest.mark.parametrize("setting", [{"score": "ria"}, {"reconstruct_stages": [0.5], "reconstruct": "sparsegpt"}])
def test_a_given_score_is_refused(metric, setting):
    with pytest.raises((InputError, ValueError), match=next(iter(setting))):
        metric(**setting)
