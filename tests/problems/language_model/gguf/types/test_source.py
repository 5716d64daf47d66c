"""Matrices in the types of a quantised source: bytes that stay, and cuts."""

from __future__ import annotations

import random

import numpy
import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.budgets.milliseconds import Milliseconds
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.ggml import row_bytes
from evoprune.problems.language_model.gguf.reader import read_gguf
from evoprune.problems.language_model.gguf.types import latency
from evoprune.problems.language_model.gguf.types.source import nearest_type, stored_rows
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.problem import LanguageModel
from evoprune.problems.language_model.settings import LanguageModelSettings
from evoprune.problems.language_model.testing import check_transform
from tests.problems.language_model.gguf.models import random_llama, write_quantised

CUTS = [{"use": "heads", "keep": [0]}, "channels"]
OWN = {"use": "types", "types": [], "from_source": True}
SMALLER = OWN | {"types": ["Q8_0", "Q5_0", "Q4_0"]}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A tiny Llama whose blocks are in Q5_1, and its embedding in Q8_0."""
    return write_quantised(random_llama(blocks=4), tmp_path_factory.mktemp("source") / "tiny.gguf", "Q5_1")


@pytest.fixture
def problem(source, byte_models):
    """Makes the problem of transforms on the tiny model."""
    given = byte_models("llama") | {"model": str(source)}
    return lambda *transforms: LanguageModel(LanguageModelSettings(**given, transforms=transforms))


def written(transform, path):
    """The tensors of the file of the model as it is now."""
    types = transform.transforms[-1]
    contents(transform.resident.model, types.file.base, types.encoded()).write(path)
    return read_gguf(path).tensors


def test_the_contract_is_kept(problem):
    check_transform(problem(*CUTS, SMALLER).session, pairs=2)


def test_the_model_that_lost_nothing_is_the_source_byte_for_byte(problem, source, tmp_path):
    transform = problem(*CUTS, OWN).session.transform
    transform.apply(transform.dense)
    found, expected = written(transform, tmp_path / "dense.gguf"), read_gguf(source).tensors
    assert found.keys() == expected.keys()
    assert all(numpy.array_equal(found[name].data, each.data) for name, each in expected.items())
    assert transform.costs.budget("bytes", None).spent(transform.dense) == (tmp_path / "dense.gguf").stat().st_size


def test_a_matrix_is_quantised_only_to_types_that_are_smaller_than_its_own(problem):
    transform = problem(SMALLER).session.transform.transforms[0]
    for matrix in transform.matrices:
        own = transform.file._source[matrix.name].data.nbytes
        rows, width = matrix.rows(matrix.weight).shape
        known = [kind for kind in SMALLER["types"] if (matrix.name, kind) in transform.errors.relative]
        assert {*known} == {"Q5_0", "Q4_0"}
        assert max(rows * row_bytes(kind, width) for kind in known) < own
        assert matrix.name in transform.errors.importance or matrix not in transform.resident.matrices


@pytest.mark.parametrize("types", [OWN, SMALLER], ids=["own", "smaller"])
def test_each_byte_is_counted_and_no_matrix_has_more_bits_than_before(problem, source, tmp_path, types):
    transform, rng = problem(*CUTS, types).session.transform, random.Random(1)
    before = {name: 8 * each.data[0].nbytes / each.shape[-1] for name, each in read_gguf(source).tensors.items()}
    for _ in range(4):
        genome = [float(rng.randrange(len(gene.levels))) for gene in transform.genes]
        transform.apply(genome)
        found = written(transform, tmp_path / "cut.gguf")
        assert (tmp_path / "cut.gguf").stat().st_size == transform.costs.budget("bytes", None).spent(genome)
        zeros = 4.5  # bits of matrices of zeros
        assert all(
            8 * each.data[0].nbytes / each.shape[-1] <= max(before.get(name, 0), zeros)
            for name, each in found.items()
            if len(each.shape) > 1
        )


def test_rows_that_stay_keep_their_bytes(problem, source, tmp_path):
    transform = problem(*CUTS, OWN).session.transform
    genome = transform.dense
    genome[transform.genes.names.index("channels 1")] = 1.0
    transform.apply(genome)
    found, before = written(transform, tmp_path / "cut.gguf"), read_gguf(source).tensors
    for name in ("blk.1.ffn_up.weight", "blk.1.ffn_gate.weight"):
        rows = {row.tobytes() for row in before[name].data}
        assert len(found[name].data) < len(before[name].data)
        assert all(row.tobytes() in rows for row in found[name].data)
    assert numpy.array_equal(found["blk.0.ffn_up.weight"].data, before["blk.0.ffn_up.weight"].data)


def test_files_are_as_fast_as_their_source_or_faster(problem, source, tmp_path, monkeypatch):
    """A pass takes a millisecond for each 1,000 bytes here."""
    monkeypatch.setattr(latency, "latencies", lambda paths, *_: [path.stat().st_size / 1000 for path in paths])
    transform = problem(*CUTS, SMALLER).session.transform
    asked = Milliseconds(speedup=1.2, phase="decode", batch=1, length=16, seconds=0.0)
    times = asked.measure(transform)
    assert times["dense"] == source.stat().st_size / 1000
    asked.settle(transform, times)
    budget, rng = asked.budget(transform, times), random.Random(2)
    assert budget.spent(transform.dense) == pytest.approx(1.2 * budget.limit)
    for _ in range(3):
        genome = [float(rng.randrange(len(gene.levels))) for gene in transform.genes]
        transform.apply(genome)
        written(transform, tmp_path / "cut.gguf")
        assert budget.spent(genome) == pytest.approx((tmp_path / "cut.gguf").stat().st_size / 1000, rel=0.15)


def test_rows_of_other_values_have_no_bytes():
    whole = torch.arange(6.0).reshape(3, 2)
    own = GgmlMatrix("Q8_0", numpy.arange(3, dtype=numpy.uint8)[:, None])
    assert stored_rows(own, whole, whole[[2, 0]]).tolist() == [[2], [0]]
    assert stored_rows(own, whole, whole.clone()) is own.data
    for other in (whole + 1, whole[:2] + 1, whole[:, :1]):
        assert stored_rows(own, whole, other) is None


def test_where_a_type_does_not_fit_the_nearest_without_more_bits_does():
    assert nearest_type("Q4_K", [512, 256]) == "Q4_K"
    kinds = {kind: nearest_type(kind, [512, 192]) for kind in ("Q6_K", "Q5_K", "Q4_K", "IQ4_XS", "Q8_0", "Q2_K")}
    assert kinds == {
        "Q6_K": "Q5_1", "Q5_K": "Q5_0", "Q4_K": "IQ4_NL", "IQ4_XS": "MXFP4", "Q8_0": "Q8_0", "Q2_K": "MXFP4",
    }  # fmt: skip
    assert nearest_type("Q4_0", [40]) is None


def test_a_model_in_a_folder_has_no_types_of_its_own(byte_models):
    with pytest.raises(InputError, match="from_source"):
        LanguageModel(LanguageModelSettings(**byte_models("llama"), transforms=[*CUTS, OWN]))
