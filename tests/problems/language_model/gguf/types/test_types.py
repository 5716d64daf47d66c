"""A type for each matrix: its levels, and the same values in model and file."""

from __future__ import annotations

import sys

import gguf
import numpy
import pytest
import torch

from evoprune import InputError
from evoprune.cli import main
from evoprune.problems.language_model.calibration.sensitivity import sensitivity
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.types.matrices import typed_matrices
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.testing import check_transform
from tests.problems.language_model.small import problem_in, save


def rows_of(weight, module):
    """The weight as a file has it, ``(out, in)``."""
    return (weight.T if type(module).__name__ == "Conv1D" else weight).numpy()


def read(held, width):
    """The values of an encoded matrix by the reference in Python, which lacks Q2_0."""
    if held.kind == "Q2_0":
        return ggml.dequantize(held.data, held.kind, width)
    weights = gguf.quants.dequantize(held.data, gguf.GGMLQuantizationType[held.kind])
    assert weights.shape[1] == width
    return weights


@pytest.mark.parametrize(
    "architecture", ["gpt2", "gpt_neox", *(pytest.param(name, marks=pytest.mark.slow) for name in ("llama", "opt"))]
)
def test_the_contract_is_kept_by_each_architecture(language_model, architecture, tmp_path):
    given = problem_in(tmp_path, architecture)
    check_transform(language_model(**given, transforms={"use": "types", "types": ["Q8_0", "Q4_0"]}).session, pairs=2)


def test_the_model_has_the_values_that_a_file_would_hold(types):
    transform = types()
    model = transform.resident.model
    dense = {name: parameter.clone() for name, parameter in model.named_parameters()}
    for level in range(1, 5):
        genome = [float(min(level, gene.up)) for gene in transform.genes]
        transform.apply(genome)
        held = transform.encoded()
        names = [f"{name}.weight" for name in transform.genes.names]
        kinds = transform.genes.chosen(genome)
        assert {name: each.kind for name, each in held.items()} == dict(zip(names, kinds, strict=True))
        for name, parameter in model.named_parameters():
            if name in held:
                weights = rows_of(parameter, model.get_submodule(name.removesuffix(".weight")))
                numpy.testing.assert_allclose(weights, read(held[name], weights.shape[1]), rtol=1e-6, atol=1e-9)
            else:
                assert torch.equal(parameter, dense[name])
    transform.apply(transform.dense)
    assert not transform.encoded()
    assert all(torch.equal(parameter, dense[name]) for name, parameter in model.named_parameters())


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox"])  # whose embedding is tied to the head, and is not
def test_weights_made_as_their_layer_runs_give_the_same_bits(architecture, language_model, tmp_path):
    given = problem_in(tmp_path, architecture) | {"objective": "kl"}
    at_once, late = (
        language_model(**given, memory=memory, transforms={"use": "types"}).session for memory in ("resident", "stream")
    )
    for level in (3, 0, 1):
        genome = [float(min(level, gene.up)) for gene in at_once.transform.genes]
        scores, zeros, copies = [], [], []
        for session in (at_once, late):
            scores.append(session.fitness.value(genome))
            zeros.append(session.resident.removed_weights)
            copies.append(FinalModel(session, genome).copy().model)
            assert session.fitness.value(genome) == scores[-1]  # also after a copy, which has all values
        assert scores[0] == scores[1]
        assert zeros[0] == zeros[1]
        both = zip(copies[0].parameters(), copies[1].parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in both)
    dense, bits = late.transform.dense, [min(3.0, gene.up) for gene in late.transform.genes]
    late.transform.apply(dense)
    before = [parameter.data_ptr() for parameter in late.resident.matrices[0].module.parameters()]
    late.transform.apply(bits)
    assert [parameter.data_ptr() for parameter in late.resident.matrices[0].module.parameters()] == before


def test_levels_fall_in_bytes_and_rise_in_the_divergence_that_they_make(types):
    transform = types()
    model, calibration = transform.resident.model, transform.texts.calibration.tokens
    factors = sensitivity(model, calibration, transform.matrices)
    dense = {name: parameter.clone() for name, parameter in model.named_parameters()}
    sizes, errors = {}, {}
    for level in range(max(len(gene.levels) for gene in transform.genes)):
        transform.apply([float(min(level, gene.up)) for gene in transform.genes])
        for name, held in transform.encoded().items():
            own = name.removesuffix(".weight")
            weights = rows_of(dense[name], model.get_submodule(own))
            off = (read(held, weights.shape[1]) - weights).astype(float) ** 2
            sizes.setdefault(own, {})[held.kind] = held.data.nbytes
            level_loss = (
                sum(outputs.double().numpy() @ off @ inputs.double().numpy() for outputs, inputs in factors[own]) / 2
            )
            errors.setdefault(own, {})[held.kind] = level_loss
    for gene in transform.genes:
        assert tuple(sizes[gene.name]) == gene.levels[1:]
        assert [*sizes[gene.name].values()] == sorted(set(sizes[gene.name].values()), reverse=True)
        assert [*errors[gene.name].values()] == sorted(set(errors[gene.name].values()))
        assert gene.level_losses == pytest.approx([0.0, *errors[gene.name].values()], rel=0.1)
        assert gene.absolute


def test_bytes_are_those_of_the_moment_of_the_call(types):
    transform = types()
    transform.apply([1.0] * len(transform.genes))
    first = transform.encoded()
    before = {name: held.data.copy() for name, held in first.items()}
    assert set(before)
    transform.apply([2.0] * len(transform.genes))
    assert all((held.data == before[name]).all() for name, held in first.items())


def test_a_copy_that_could_not_be_made_is_made_the_next_time(types, monkeypatch):
    transform = types(types=["Q8_0"], importance=False)
    model, genome = transform.resident.model, [gene.up for gene in transform.genes]
    transform.apply(genome)
    expected = [weight.clone() for weight in model.parameters()]
    transform.apply(transform.dense)

    def fails(*_):
        raise MemoryError

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(GgmlMatrix, "values", fails)
        transform.apply(genome)
    transform.apply(genome)
    assert all(map(torch.equal, model.parameters(), expected))


def test_a_source_on_a_grid_is_said_and_its_types_may_be_left_out(language_model, tmp_path):
    session = language_model().session
    model = session.resident.model

    def on_grid(matrices):
        for matrix in matrices:
            rows = matrix.rows(matrix.weight).numpy()
            values = ggml.dequantize(ggml.quantize(rows, "Q4_0"), "Q4_0", rows.shape[1])
            matrix.weight.data.copy_(matrix.rows(torch.from_numpy(values)))
        return {"model": save(model, tmp_path / str(len(matrices)))}

    source = on_grid(session.resident.matrices)
    with_them = language_model(**source, transforms={"use": "types", "importance": False})
    transform = with_them.session.transform.transforms[0]
    assert transform.describe()["source_types"]["Q4_0"] == len(session.resident.matrices)
    assert "source is quantised" in with_them.describe()
    without = language_model(**source, transforms={"use": "types", "importance": False, "source_types": False})
    blocks = {matrix.name for matrix in session.resident.matrices}
    assert not without.session.transform.transforms[0].describe()["source_types"]
    assert all("Q4_0" not in gene.levels for gene in without.genes if gene.name in blocks)
    assert "quantised" not in without.describe()
    assert "quantised" not in language_model(transforms="types").describe()
    whole = on_grid(typed_matrices(session.resident))
    with pytest.raises(InputError, match="source_types"):
        language_model(**whole, transforms={"use": "types", "types": ["Q4_0"], "source_types": False})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["Q4_K"], "Q4_K needs rows of a multiple of 256 weights; the model's are 64, 160"),
        (["Q9_0"], "'Q9_0' is no type that ggml quantises to"),
        (["Q8_0", "Q8_0"], "expected each type once"),
        ([], "at least 1"),
    ],
)
def test_types_that_cannot_be_are_refused(language_model, tmp_path, given, message):
    with pytest.raises((InputError, ValueError), match=message):
        language_model(**problem_in(tmp_path, "llama"), transforms={"use": "types", "types": given})


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_missing_package_is_told_before_anything_is_loaded(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setattr(Resident, "load", None)
    places = ["--runs-dir", str(tmp_path / "runs")] if command == "run" else []
    assert main([command, "problems/gpt2_mini_joint.yaml", *places]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "problem.transforms: " in told
    assert "pip install 'evoprune[" in told
    assert not (tmp_path / "runs").exists()
