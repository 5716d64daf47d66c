"""Candidates from weights that were updated beforehand: at the stages, between them, and in a search."""

import json
import math
import random

import pytest
import torch

from evoprune.cli import main
from evoprune.records import recorded
from problems.calibration.linear_algebra import damped_inverse
from problems.calibration.statistics import statistics
from problems.models.blocks import find_matrices
from problems.reconstruction.update import inverse_factor, least_squares, sparsegpt
from problems.transforms.weights import ranks
from problems.transforms.weights.genes import group
from problems.transforms.weights.masks import Masks
from problems.transforms.weights.reconstruction import reconstruct_at_stages
from problems.transforms.weights.scoring import Scoring
from problems.transforms.weights.settings import WeightsSettings
from tests.problems.small import random_model, weights_of
from tests.runs import without_times

STAGES = (0.25, 0.5, 0.75)


def masks(model, tokens, **others):
    """Masks of ``model`` with stages, and without."""
    settings = WeightsSettings(**{"reconstruct": "sparsegpt", "reconstruct_stages": STAGES} | others)
    matrices = find_matrices(model)
    groups = group(matrices, settings.genes)
    scoring = Scoring(matrices, settings.score, settings.scores, settings.scope)
    stored = scoring.originals() | scoring.levels(model, groups, tokens)
    updated = reconstruct_at_stages(settings, model, matrices, tokens, stored)
    return Masks(groups, stored | updated, stages=STAGES), Masks(groups, stored)


def zeros(model):
    return [int((weight == 0).sum()) for weight in weights_of(model)]


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])  # Conv1D and Linear
@pytest.mark.parametrize("way", ["sparsegpt", "least_squares"])
@pytest.mark.parametrize("mask", ["adaptive", "score"])
def test_at_a_stage_each_layer_is_what_reconstruction_gives_on_the_dense_models_inputs(architecture, way, mask, tokens):
    model = random_model(architecture)
    grams = [known["gram"] for _, known in statistics(model, tokens, find_matrices(model), {"gram"})]
    staged, plain = masks(model, tokens, genes="matrix", reconstruct=way, reconstruct_mask=mask)
    dense = weights_of(model)
    for stage in STAGES:
        plain.apply([stage] * len(dense))
        kept = [matrix.rows(plain.kept(matrix)) for matrix in find_matrices(model)]
        staged.apply([stage] * len(dense))
        for matrix, weight, gram, keeps in zip(find_matrices(model), dense, grams, kept, strict=True):
            rows, removed = matrix.rows(weight), int((~keeps).sum())
            if (way, mask) == ("least_squares", "score"):
                expected = least_squares(rows, gram, keeps, rows * keeps)
            else:
                expected = sparsegpt(rows, inverse_factor(gram), keeps if mask == "score" else None, removed)
            if (way, mask) == ("least_squares", "adaptive"):
                expected = least_squares(rows, gram, expected != 0, expected)
            assert torch.equal(matrix.rows(matrix.weight), expected)
            assert int((expected == 0).sum()) == removed


@pytest.mark.parametrize("scope", ["matrix", "row", "group"])
@pytest.mark.parametrize("most_levels", [2**16 - 1, 1000])
def test_between_stages_as_many_go_as_without_and_the_way_there_does_not_matter(
    scope, most_levels, model, tokens, monkeypatch
):
    monkeypatch.setattr(ranks, "_MOST_LEVELS", most_levels)  # with 1,000, levels hold several weights
    staged, plain = masks(model, tokens, scope=scope)
    rng = random.Random(0)
    seen = []
    for genome in [[0.0] * 3, *([rng.random() for _ in range(3)] for _ in range(8)), [1.0] * 3]:
        expected = plain.apply(genome), zeros(model)
        plain.forget()
        staged.forget()
        assert (staged.apply(genome), zeros(model)) == expected
        seen.append((genome, weights_of(model)))
    rng.shuffle(seen)
    for genome, before in seen:
        staged.apply(genome)
        assert all(map(torch.equal, weights_of(model), before))


@pytest.mark.parametrize("mask", ["adaptive", "score"])
def test_near_a_stage_the_lowest_of_its_weights_go_and_the_highest_of_the_removed_come_back(mask, tokens):
    model = random_model("gpt2")
    matrix, known = next(statistics(model, tokens, find_matrices(model), {"gram"}))
    inverse = damped_inverse(known["gram"]).float().diagonal()
    staged, _ = masks(model, tokens, genes="matrix", reconstruct_mask=mask)
    original, others = matrix.weight.clone(), [0.5] * (len(find_matrices(model)) - 1)

    def score(weight):
        return original.abs() if mask == "score" else matrix.rows(matrix.rows(weight) ** 2 / inverse)

    def cut(weights):
        staged.apply([weights / matrix.size, *others])
        return matrix.weight.clone()

    half = matrix.size // 2
    at, above, below = cut(half), cut(half + 10), cut(half - 10)
    gone, back = (at != 0) & (above == 0), (at == 0) & (below != 0)
    assert (int(gone.sum()), int(back.sum())) == (10, 10)
    assert torch.equal(above, at.masked_fill(gone, 0))
    assert score(at)[gone].max() <= score(at)[above != 0].min() * (1 + 1e-5)
    assert torch.equal(below, torch.where(back, original, at))
    assert score(original)[back].min() * (1 + 1e-5) >= score(original)[below == 0].max()


@pytest.fixture
def staged(pruning):
    """The pruning problem with stages, or with other settings."""
    return lambda **settings: pruning(**{"reconstruct": "sparsegpt", "reconstruct_stages": STAGES} | settings)


def test_a_candidate_scores_the_same_in_any_order_and_from_any_relative(staged):
    rng = random.Random(1)
    genomes = [[rng.uniform(0.1, 0.9) for _ in range(3)] for _ in range(2)]
    genomes += [[*genome[:2], rng.uniform(0.1, 0.9)] for genome in genomes]
    fresh = [staged(reuse_mib=0).evaluate(genome).values for genome in genomes]
    reusing = staged()
    for at in [*range(4), *reversed(range(4))]:
        assert reusing.evaluate(genomes[at]).values == fresh[at]
    plain = staged(reconstruct_stages=())
    assert all(plain.evaluate(genome).values != value for genome, value in zip(genomes, fresh, strict=True))


def test_the_result_is_reconstructed_from_the_original_weights_as_without_stages(staged):
    done = []
    for stages in (STAGES, ()):
        cut = staged(reconstruct_stages=stages).session.transform
        cut.finalise([0.3, 0.5, 0.6])
        done.append(weights_of(cut.resident.model))
    assert all(map(torch.equal, *done))


@pytest.mark.slow
def test_serial_and_processes_agree_and_the_result_states_the_stages(run_on, tmp_path):
    run, found = run_on("gpt2", reconstruct="sparsegpt", stages=STAGES), []
    for way in (["serial"], ["processes", "-n", "2", "--stall-after", "600"]):
        options = ["--map", *way, "--threads", "1", "--runs-dir", str(tmp_path), "--name", way[0]]
        assert main(["run", str(run / "config.yaml"), *options]) == 0
        result = json.loads((tmp_path / way[0] / "result.json").read_text())
        assert result["protocol"]["reconstruct_stages"] == list(STAGES)
        found.append((without_times(recorded.lines(tmp_path / way[0] / "history.jsonl")), result["perplexity"]))
    assert found[0] == found[1]


@pytest.mark.slow
def test_the_bundled_model_is_judged_more_nearly_as_it_is_reconstructed_than_masked_weights_are(bundled):
    problem = bundled(reconstruct="sparsegpt", reconstruct_stages=(0.4,))
    cut, measure, tokens = (
        problem.session.transform,
        problem.session.fitness.measure,
        problem.session.texts.report.tokens,
    )
    genome = [0.38, 0.42] * 6
    Masks(cut.groups, cut.masks._stored).apply(genome)
    masked = measure.perplexity(tokens)
    cut.masks.forget()
    staged = problem.session.fitness.perplexity(genome, tokens)
    cut.finalise(genome)
    far, near = (abs(math.log(value / measure.perplexity(tokens))) for value in (masked, staged))
    assert near < 0.2 * far
