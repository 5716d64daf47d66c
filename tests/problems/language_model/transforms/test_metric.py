"""Metrics: each part against its definition number by number, and weights cut by a metric as by a known score."""

import math
from itertools import product

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


def transformed(name, value, largest):
    return {
        "exp": lambda: math.exp(value - largest),
        "square": lambda: value**2,
        "identity": lambda: value,
        "sqrt": lambda: math.sqrt(value),
        "log": lambda: math.log(1 + value),
        "tanh": lambda: math.tanh(value),
        "sigmoid": lambda: 1 / (1 + math.exp(-value)),
    }[name]()


def scaled_weight(name, sizes, row, column):
    every = [size for line in sizes for size in line]
    of_row, of_column = sum(sizes[row]), sum(line[column] for line in sizes)
    factor = {
        "sum": 1 / sum(every),
        "norm": 1 / math.sqrt(sum(size**2 for size in every)),
        "row": 1 / of_row,
        "column": 1 / of_column,
        "relative": 1 / of_row + 1 / of_column,
        "mean": len(every) / sum(every),
        "one": 1.0,
    }[name]
    return sizes[row][column] * factor


def scaled_norm(name, norms, column):
    count = len(norms)
    factor = {
        "sum": 1 / sum(norms),
        "norm": 1 / math.sqrt(sum(norm**2 for norm in norms)),
        "max": 1 / max(norms),
        "rms": 1 / math.sqrt(sum(norm**2 for norm in norms) / count),
        "mean": count / sum(norms),
        "mean_root": (count / sum(map(math.sqrt, norms))) ** 2,
        "one": 1.0,
    }[name]
    return norms[column] * factor


def slowly(metric, weight, norms):
    sizes, norms = weight.abs().tolist(), norms.tolist()
    places = list(product(range(ROWS), range(COLUMNS)))
    weights = {place: scaled_weight(metric.weight_coefficient, sizes, *place) for place in places}
    inputs = [scaled_norm(metric.input_coefficient, norms, column) for column in range(COLUMNS)]
    return [
        transformed(metric.weight_transform, weights[row, column], max(weights.values()))
        * transformed(metric.input_transform, inputs[column], max(inputs))
        for row, column in places
    ]


@pytest.mark.parametrize("place", range(4), ids=[*PARTS])
def test_each_part_is_what_it_is_defined_to_be(layer, place):
    for part in [*PARTS.values()][place]:
        for others in ("identity", "one", "identity", "one"), ("tanh", "mean", "log", "mean"):
            metric = Metric(*[*others[:place], part, *others[place + 1 :]])
            assert metric.score(*layer).flatten().tolist() == pytest.approx(slowly(metric, *layer), rel=1e-9)


def test_wanda_and_ria_are_among_them(layer):
    weight, norms = layer
    assert torch.equal(Metric().score(weight, norms), wanda(weight, input_norms=norms))
    score = Metric("identity", "relative", "sqrt", "one").score(weight, norms)
    assert torch.allclose(score, ria(weight, input_norms=norms))


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


@pytest.mark.parametrize(
    ("name", "known"), [("wanda", Metric()), ("ria", Metric("identity", "relative", "sqrt", "one"))]
)
def test_a_known_score_cuts_the_same_weights(metric, pruning, name, known):
    cut, searched = pruning(score=name).session.transform.transforms[0], metric()
    sparsities = [0.2, 0.5, 0.7]
    cut.apply(sparsities)
    searched.apply([*known.genome, *sparsities])
    assert all(map(torch.equal, weights_of(cut.resident.model), weights_of(searched.resident.model)))


def test_metrics_that_were_forgotten_are_ranked_again(metric, monkeypatch):
    monkeypatch.setattr("evoprune.problems.language_model.transforms.metric._KEPT", 50_000)
    made = metric()
    levels = 2 * made.resident.prunable_weights
    genomes = [[*Metric("sqrt", "row", "log", "mean").genome, 0.3, 0.4, 0.5]]
    genomes += [[float(level), 0.0, 1.0, 2.0, 0.3, 0.4, 0.5] for level in range(7)]
    genomes += [[float(level), 5.0, 1.0, 2.0, 0.3, 0.4, 0.5] for level in range(7)]
    made.apply(genomes[0])
    before, fingerprints = weights_of(made.resident.model), made.block_fingerprints()
    for genome in genomes[1:]:
        made.apply(genome)
        assert made.block_fingerprints() != fingerprints
        assert len(made._recent) * levels <= max(50_000, levels) < len(genomes) * levels
    assert not all(map(torch.equal, weights_of(made.resident.model), before))
    made.apply(genomes[0])
    assert all(map(torch.equal, weights_of(made.resident.model), before))


@pytest.mark.parametrize("setting", [{"score": "ria"}, {"reconstruct_stages": [0.5]}])
def test_a_score_of_ones_own_is_refused(metric, setting):
    with pytest.raises((InputError, ValueError), match=f"leave out {next(iter(setting))}"):
        metric(**setting | ({"reconstruct": "sparsegpt"} if "reconstruct_stages" in setting else {}))
