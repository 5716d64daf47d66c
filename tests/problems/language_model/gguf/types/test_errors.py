"""Matrices in types, the types that are levels once times are known, and genomes by bits."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy
import pytest
import torch

from evoprune.problems.language_model.calibration.sensitivity import sensitivity
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.types import encodings, errors, importance
from evoprune.problems.language_model.gguf.types.encodings import Encodings
from evoprune.problems.language_model.gguf.types.errors import draw_samples, estimate_errors
from evoprune.problems.language_model.gguf.types.importance import measure_importance
from evoprune.problems.language_model.gguf.types.matrices import DENSE, typed_matrices


@pytest.mark.parametrize("seed", range(3))
def test_once_times_are_known_no_level_is_matched_in_time_and_in_error(types, seed):
    transform, rng = types(importance=False), random.Random(seed)
    every = {gene.name: gene for gene in transform.bare().genes}
    times = {
        name: {kind: min(0.0, -round(rng.uniform(-1, 3), 1)) for kind in gene.levels} | {DENSE: 0.0}
        for name, gene in every.items()
    }
    transform.use_times(times)
    for gene in transform.genes:
        own = times[gene.name]
        level_losses = dict(zip(every[gene.name].levels, every[gene.name].level_losses, strict=True))
        assert gene.levels[0] == DENSE
        taken = [own[kind] for kind in gene.levels]
        assert taken == sorted(set(taken), reverse=True)
        for kind in every[gene.name].levels:
            assert any(own[level] <= own[kind] and level_losses[level] <= level_losses[kind] for level in gene.levels)
        assert list(gene.level_losses) == [level_losses[kind] for kind in gene.levels]
    transform.apply([gene.up for gene in transform.genes])
    held = [(name, each.kind) for name, each in transform.encoded().items()]
    assert held == [(f"{gene.name}.weight", gene.levels[-1]) for gene in transform.genes if gene.free]
    uniform = [transform.uniform(step / 10) for step in range(11)]
    assert (uniform[0], uniform[-1]) == (transform.dense, [gene.up for gene in transform.genes])
    assert all(one <= other for genome, after in pairwise(uniform) for one, other in zip(genome, after, strict=True))


def test_times_that_lack_a_type_or_a_matrix_are_refused(types):
    transform = types(importance=False, types=["Q8_0", "Q4_0"])
    names, every = transform.genes.names, {DENSE: 0.0, "Q8_0": -1.0, "Q4_0": -2.0, "Q5_0": -3.0}
    known = dict.fromkeys(names, every)
    for wrong in (known | {names[1]: {DENSE: 0.0, "Q4_0": -1.0}}, {}):
        with pytest.raises(ValueError, match="other types"):
            transform.use_times(wrong)
    transform.use_times(known)
    assert {gene.levels for gene in transform.genes} == {(DENSE, "Q8_0", "Q4_0")}


@pytest.mark.parametrize("weighed", [True, False])
def test_a_matrix_that_is_quantised_some_rows_at_a_time_is_the_same(language_model, monkeypatch, weighed):
    session = language_model(transforms={"use": "types", "types": ["Q8_0"]}).session
    matrices = typed_matrices(session.resident)
    importance = measure_importance(session.resident, session.texts.calibration.tokens) if weighed else {}
    monkeypatch.setattr(encodings, "SLICE", 7 * matrices[0].rows(matrices[0].weight).shape[1])
    made = Encodings(importance)
    for matrix in matrices:
        rows = matrix.rows(matrix.weight).float().numpy()
        own = importance.get(matrix.name)
        expected = ggml.quantize(rows, "Q4_0", None if own is None else own.numpy())
        assert numpy.array_equal(made(matrix, matrix.weight, "Q4_0"), expected)


@pytest.mark.parametrize("weighed", [True, False])
def test_errors_of_all_rows_are_exact_and_of_some_rows_near(language_model, weighed):
    session = language_model(transforms={"use": "types", "types": ["Q8_0"]}).session
    matrices, tokens = typed_matrices(session.resident), session.texts.calibration.tokens
    importance = measure_importance(session.resident, tokens) if weighed else {}
    sensitive = sensitivity(session.resident.model, tokens, matrices) if weighed else {}
    rows = {matrix.name: matrix.rows(matrix.weight).float().numpy() for matrix in matrices}
    level_losses = []
    for matrix in matrices:
        weights, own = rows[matrix.name], importance.get(matrix.name)
        data = ggml.quantize(weights, "Q4_0", None if own is None else own.numpy())
        change = (ggml.dequantize(data, "Q4_0", weights.shape[1]) - weights).astype(float) ** 2
        factors = sensitive.get(matrix.name) or [(torch.ones(len(weights)), torch.ones(weights.shape[1]))]
        level_losses.append(sum(out.double().numpy() @ change @ into.double().numpy() for out, into in factors) / 2)
    for count, off in ((10**9, 1e-5), (16, 0.35)):
        samples = list(zip(matrices, draw_samples(matrices, sensitive, count), strict=True))
        found = estimate_errors(samples, importance, "Q4_0")
        assert found["divergences"].tolist() == pytest.approx(level_losses, rel=off)
        for (matrix, sample), relative in zip(samples, found["relative"].tolist(), strict=True):
            assert len(sample.rows) <= min(count, len(rows[matrix.name]))
            assert relative * sample.total / 2 == pytest.approx(found["divergences"][matrices.index(matrix)])


def test_a_run_with_other_types_reads_no_inputs_again(types, monkeypatch):
    def again(*_):
        raise AssertionError("read again")

    first = types(types=["Q8_0"])
    monkeypatch.setattr(importance, "measure_importance", again)
    monkeypatch.setattr(errors, "sensitivity", again)
    second = types(types=["Q8_0", "Q4_0"])
    (name, *_) = first.errors.importance
    assert first.errors.importance[name].equal(second.errors.importance[name])


def test_genomes_by_bits(types):
    transform = types(importance=False, types=["Q8_0", "Q5_0", "Q4_0"])
    kinds = [set(transform.genes.chosen(transform.uniform(step / 100))) for step in range(101)]
    found = [each for place, each in enumerate(kinds) if each != kinds[place - 1]]
    assert found == [{"16 bits"}, {"Q8_0"}, {"Q5_0"}, {"Q4_0"}]
    times = {DENSE: 0.0, "Q5_0": -1.0, "Q8_0": -2.0, "Q4_0": -3.0}
    transform.use_times(dict.fromkeys(transform.genes.names, times))
    for kind, expected in {"Q8_0": "Q8_0", "Q5_0": "Q4_0", "Q4_0": "Q4_0"}.items():
        genome = transform.type_genes.genome_of([kind] * len(transform.genes))
        assert set(transform.genes.chosen(genome)) == {expected}
