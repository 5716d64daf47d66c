"""A type for each matrix: what the levels are, that the model has their values, and what a file would hold."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy
import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from evoprune import InputError
from evoprune.cli import main
from problems.budgets.latency_terms import timer_of
from problems.gguf import ggml
from problems.language_model.problem import LanguageModel, LanguageModelSettings
from problems.models.resident import Resident
from problems.models.throughput import Load
from problems.testing.transforms import check_transform
from problems.transforms.encoding import encoded
from tests.problems.small import ARCHITECTURES, VOCABULARY, inputs_of, problem_in, save

gguf = pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")


def rows_of(weight, module):
    """The weight as a file has it, ``(out, in)``."""
    return (weight.T if type(module).__name__ == "Conv1D" else weight).numpy()


def read(held, width):
    """What the reference in Python makes of what a file would hold."""
    weights = gguf.quants.dequantize(held.data, gguf.GGMLQuantizationType[held.kind])
    assert weights.shape[1] == width
    return weights


@pytest.mark.parametrize(
    "architecture", ["gpt2", "gpt_neox", *(pytest.param(name, marks=pytest.mark.slow) for name in ("llama", "opt"))]
)
def test_the_contract_is_kept_by_each_architecture(language_model, architecture, tmp_path):
    given = problem_in(tmp_path, architecture)
    check_transform(language_model(**given, transforms={"use": "types", "types": ["Q8_0", "Q4_0"]}).session, pairs=2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_there_is_a_gene_for_each_matrix_the_embedding_and_a_head_that_is_not_tied(
    language_model, architecture, tmp_path
):
    given = problem_in(tmp_path, architecture)
    session = language_model(**given, transforms={"use": "types", "types": ["Q8_0"], "importance": False}).session
    outside = len(session.transform.genes) - len(session.resident.matrices)
    assert outside == (2 if architecture in ("llama", "gpt_neox") else 1)
    model = session.resident.model
    for gene in session.transform.genes:
        assert f"{gene.name}.weight" in dict(model.named_parameters())


def test_the_model_has_the_values_that_a_file_would_hold(types):
    transform = types()
    model = transform.resident.model
    dense = {name: parameter.clone() for name, parameter in model.named_parameters()}
    for level in range(1, 5):
        genome = [float(min(level, gene.up)) for gene in transform.genes]
        transform.apply(genome)
        held = encoded(transform)
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
    assert not encoded(transform)
    assert all(torch.equal(parameter, dense[name]) for name, parameter in model.named_parameters())


def test_levels_fall_in_bytes_and_rise_in_weighted_error(types):
    transform = types()
    model, calibration = transform.resident.model, transform.texts.calibration.tokens
    squares = {name: (rows**2).mean(0) for name, rows in inputs_of(model, calibration).items()}
    dense = {name: parameter.clone() for name, parameter in model.named_parameters()}
    sizes, errors = {}, {}
    for level in range(12):
        transform.apply([float(min(level, gene.up)) for gene in transform.genes])
        for name, held in encoded(transform).items():
            own = name.removesuffix(".weight")
            weights = rows_of(dense[name], model.get_submodule(own))
            off = ((read(held, weights.shape[1]) - weights).astype(float) ** 2).sum(0)
            sizes.setdefault(own, {})[held.kind] = held.data.nbytes
            errors.setdefault(own, {})[held.kind] = float(off @ squares.get(own, numpy.ones_like(off)))
    for gene in transform.genes:
        assert tuple(sizes[gene.name]) == gene.levels[1:]
        assert [*sizes[gene.name].values()] == sorted(set(sizes[gene.name].values()), reverse=True)
        assert [*errors[gene.name].values()] == sorted(set(errors[gene.name].values()))
        shares = numpy.array([0.0, *errors[gene.name].values()]) / [*errors[gene.name].values()][-1]
        assert numpy.array(gene.harms) / gene.harms[-1] == pytest.approx(shares, rel=1e-3)


def test_what_it_will_need_is_what_it_has(types):
    transform = types()
    needs = type(transform).needs_of(transform.resident, transform.settings)
    assert needs.disk == sum(held.nbytes for name, held in transform._stored.items() if name.startswith("data "))
    transform.apply([gene.up for gene in transform.genes])
    assert needs.memory == sum(each._above.nbytes for each in transform._typed if each._above is not each.whole)
    assert needs.statistics == {"input_norms"}


def test_only_matrices_whose_type_changed_are_written(types):
    transform = types(types=["Q8_0"], importance=False)
    genome = [1.0] * len(transform.genes)
    transform.apply(genome)
    first, second = transform.matrices[1:3]
    first.weight.data[0, 0] = second.weight.data[0, 0] = 42.0
    transform.apply([*genome[:2], 0.0, *genome[3:]])
    assert first.weight[0, 0] == 42.0
    assert second.weight[0, 0] != 42.0


def test_the_embedding_belongs_to_the_first_block_and_a_head_to_none(language_model, tmp_path):
    given = problem_in(tmp_path, "gpt_neox")
    transform = language_model(**given, transforms={"use": "types", "importance": False}).session.transform
    dense = transform.marks()
    transform.apply([1.0, *transform.dense[1:]])
    assert [one == other for one, other in zip(transform.marks(), dense, strict=True)] == [False, True, True]
    transform.apply([*transform.dense[:-1], 1.0])
    assert transform.genes.names[-1] == "lm_head"
    assert transform.marks() == dense


def test_a_source_on_a_grid_is_said_and_its_types_may_be_left_out(language_model, tmp_path):
    session = language_model().session
    model = session.resident.model
    for matrix in session.resident.matrices:
        rows = matrix.rows(matrix.weight).numpy()
        values = ggml.dequantize(ggml.quantize(rows, "Q4_0"), "Q4_0", rows.shape[1])
        matrix.weight.data.copy_(matrix.rows(torch.from_numpy(values)))
    source = {"model": save(model, tmp_path)}
    with_them = language_model(**source, transforms={"use": "types", "importance": False})
    transform = with_them.session.transform
    assert transform.reproduced["Q4_0"] == len(session.resident.matrices)
    assert "source is quantised" in with_them.describe()
    assert transform.describe()["source_types"] == dict(transform.reproduced)
    without = language_model(**source, transforms={"use": "types", "importance": False, "source_types": False})
    assert not without.session.transform.reproduced
    assert all("Q4_0" not in gene.levels for gene in without.genes if gene.group.startswith("block"))
    assert "quantised" not in without.describe()
    assert "quantised" not in language_model(transforms="types").describe()


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


@pytest.mark.parametrize("missing", ["gguf", "llama_cpp_py_sync"])
def test_without_the_packages_one_line_says_what_to_install(types, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, "gguf", None) if missing == "gguf" else monkeypatch.setattr(ggml, "_PACKAGES", {})
    ggml._numbers.cache_clear()
    ggml._library.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'evoprune\[gguf\]'"):
        types()
    ggml._numbers.cache_clear()


@pytest.mark.parametrize(
    ("package", "told"),
    [
        ("gguf", "problem.transforms: GGUF files need llama.cpp's library; pip install 'evoprune[gguf]'"),
        ("accelerate", "problem.recover: needs accelerate; pip install 'evoprune[recover]'"),
    ],
)
@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_missing_package_is_told_before_anything_is_loaded(command, package, told, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(Resident, "load", None)
    places = ["--runs-dir", str(tmp_path / "runs")] if command == "run" else []
    assert main([command, "problems/gpt2_mini_joint.yaml", *places]) == 2
    assert capsys.readouterr().err.endswith(f"{told}\n")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("transforms.2.base", "nowhere.gguf"), ("recover.text", "nowhere.txt")]
)  # fmt: skip
def test_a_path_that_is_wrong_is_told_before_anything_is_loaded(key, value, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(Resident, "load", None)
    experiment = yaml.safe_load(Path("problems/gpt2_mini_joint.yaml").read_text())
    place, (*parents, last) = experiment["problem"], key.split(".")
    for parent in parents:
        place = place[int(parent) if parent.isdecimal() else parent]
    place[last] = value
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(experiment))
    assert main(["validate", str(path)]) == 2
    assert f"problem.{key.replace('.2', '')}: {value}: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(("architecture", "in_decoding", "in_reading"), [("llama", [0], [0, -1]), ("gpt2", [], [0])])
def test_matrices_of_which_a_pass_reads_some_rows_are_not_timed(
    language_model, architecture, in_decoding, in_reading, tmp_path
):
    given = problem_in(tmp_path, architecture)
    transform = language_model(
        **given, transforms={"use": "types", "types": ["Q8_0"], "importance": False}
    ).session.transform
    for phase, idle in {"decode": in_decoding, "prefill": in_reading}.items():
        every = list(range(len(transform.genes)))
        assert timer_of(transform, Load(phase, length=16)).alike() == [
            sorted({*every} - {every[place] for place in idle})
        ]


def test_without_a_base_no_file_can_be_timed(language_model):
    problem = language_model(transforms="types", budget={"use": "milliseconds", "speedup": 1.5})
    with pytest.raises(InputError, match="base"):
        problem.take_measurements()


def test_operations_are_not_counted(language_model):
    with pytest.raises(InputError, match="Types counts in weights, parameters"):
        _ = language_model(transforms="types", budget={"use": "operations", "removed": 0.1}).budget


@pytest.fixture(scope="session")
def wide(small, tmp_path_factory):
    """The small problem on a random Llama of one block, all of whose rows are multiples of 256."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=512, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    return small | {"model": save(LlamaForCausalLM(config).eval(), tmp_path_factory.mktemp("wide"))}


K = ("Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K")


def test_rows_of_256_can_have_types_of_256_on_every_matrix(wide):
    given = wide | {"transforms": {"use": "types", "types": (*K, "IQ4_XS", "IQ3_S", "IQ3_XXS")}}
    problem = LanguageModel(LanguageModelSettings(**given))
    for gene in problem.genes:
        assert set(K[1:3]) < set(gene.levels)
    blocks = [gene for gene in problem.genes if gene.group == "block 0"]
    assert len(blocks) == 7
    values = [problem.evaluate([float(min(level, gene.up)) for gene in problem.genes]).values[0] for level in range(6)]
    assert len(set(values)) == 6
    problem.session.transform.apply([gene.up for gene in problem.genes])
    for held in encoded(problem.session.transform).values():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[held.kind]][0] == 256
