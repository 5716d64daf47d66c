"""Types of pruned matrices: the contract, every byte of the file, and its weights."""

from __future__ import annotations

import random

import numpy
import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.export import ragged_model
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.load import copy_of
from evoprune.problems.language_model.testing import check_transform
from evoprune.problems.language_model.transforms.shapes import Shapes
from tests.problems.language_model.small import drawn, problem_in

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

TYPES = {"use": "types", "types": ["Q8_0", "Q4_0"]}
BLOCKS = {"use": "sublayers", "genes": "block", "keep": [0]}
WIDTH = {"use": "channels", "genes": "model", "drop": False}
EACH = ["heads", "channels"]


@pytest.fixture
def joint(language_model):
    """Makes the problem of types on cuts, of the small GPT-2 or of another model."""

    def made(*cuts, architecture=None, home=None, types=TYPES, **settings):
        given = problem_in(home, architecture) if architecture else {}
        return language_model(**given, transforms=[*cuts, types], **settings)

    return made


@pytest.mark.parametrize(
    ("architecture", "cuts"),
    [("gpt2", EACH), ("llama", [BLOCKS, WIDTH]), ("gpt2", [BLOCKS | {"genes": "sublayer"}])],
    ids=["each", "blocks and width", "sublayers"],
)
def test_the_contract_is_kept(joint, cuts, architecture, tmp_path):
    check_transform(joint(*cuts, architecture=architecture, home=tmp_path).session, pairs=2)


def test_a_narrower_matrix_is_quantised_as_it_is_left_with_the_importance_of_its_inputs(joint):
    problem = joint(*EACH)
    transform, names = problem.session.transform, problem.genes.names
    model = problem.session.resident.model
    plain = transform.dense
    plain[names.index("channels 1")], plain[names.index("heads 0")] = 3.0, 1.0
    transform.apply(plain)
    left = transform._kept_indices(plain).inputs
    weights = {name: weight.clone() for name, weight in model.named_parameters()}
    whole = transform.encode(model, plain)
    assert whole == {}
    typed = [*plain[:6], *(gene.up for gene in transform.genes[6:])]
    transform.apply(typed)
    held = transform.encoded()
    importance = transform.form.errors.importance
    assert left.keys() == {"transformer.h.1.mlp.c_proj", "transformer.h.0.attn.c_proj"}
    for name, each in held.items():
        own = name.removesuffix(".weight")
        rows = weights[name].T if own in importance else weights[name]
        weighed = importance[own][left[own]] if own in left else importance.get(own)
        data = ggml.quantize(rows.numpy(), each.kind, None if weighed is None else weighed.numpy())
        numpy.testing.assert_array_equal(each.data, data)
        found = ggml.dequantize(data, each.kind, rows.shape[1])
        assert torch.equal(
            dict(model.named_parameters())[name], torch.from_numpy(found.T if own in importance else found)
        )
    transform.apply(plain)
    assert all(torch.equal(weight, weights[name]) for name, weight in model.named_parameters())


def test_what_was_trained_is_quantised_to_the_same_types(joint):
    transform = joint(*EACH).session.transform
    rng = random.Random(3)
    genome = drawn(transform.genes, rng)
    transform.apply(genome)
    held = transform.encoded()
    expected = {name: weight.clone() for name, weight in transform.resident.model.named_parameters()}
    transform.form.swap_out()
    found = transform.encode(transform.resident.model, genome)
    assert {name: each.kind for name, each in found.items()} == {name: each.kind for name, each in held.items()}
    assert all(numpy.array_equal(found[name].data, held[name].data) for name in held)
    assert all(torch.equal(weight, expected[name]) for name, weight in transform.resident.model.named_parameters())


def test_types_that_some_width_does_not_allow_are_no_levels(joint):
    transform = joint("channels").session.transform.form
    names = transform.genes.names
    before = [gene.levels for gene in transform.genes]
    odd = {f"{names[1]}.weight": {0: [(64, 192), (48, 192)]}}
    dense = {
        f"{name}.weight": tuple(matrix.weight.shape) for name, matrix in zip(names, transform.matrices, strict=True)
    }
    transform.fit(Shapes(dense, {name: odd.get(name, {}) for name in dense}, [2]))
    after = [gene.levels for gene in transform.genes]
    assert after[1] == ("16 bits",)
    assert [*after[:1], *after[2:]] == [*before[:1], *before[2:]]
    every = {name: {0: [shape, (48, 48)]} for name, shape in dense.items()}
    with pytest.raises(InputError, match="no type fits what cuts may leave"):
        transform.fit(Shapes(dense, every, [2]))


def test_a_folder_holds_the_shapes_alone_and_the_values_of_types(joint, tmp_path):
    problem = joint(*EACH)
    transform, model = problem.session.transform, problem.session.resident.model
    transform.apply(drawn(transform.genes, random.Random(5)))
    ragged_model.save(
        copy_of(model, model.dtype), problem.settings.transforms, transform.replayed_genes(transform._applied), tmp_path
    )
    found, expected = ragged_model.load(tmp_path).state_dict(), model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
