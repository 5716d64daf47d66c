"""Types from a recipe and importance from llama.cpp's file, in place of a choice and of a text."""

import numpy as np
import pytest

from evoprune import InputError
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.recipe import TensorTypes, read_importance, write_importance
from evoprune.problems.language_model.gguf.types.importance import by_tensor
from evoprune.problems.language_model.gguf.types.settings import TypesSettings


@pytest.fixture
def types(language_model, byte_models):
    """Makes the transform on a model that a .gguf file can hold."""
    told = byte_models("llama")
    return lambda **own: language_model(**told, transforms={"use": "types"} | own).session.transform.transforms[0]


@pytest.fixture
def made(types, tmp_path):
    """A transform that calibrates, and files of its importance, and of a recipe, in ``tmp_path``."""
    transform = types(types=["Q8_0", "Q4_0"])
    known = by_tensor(transform.resident, find_base(transform.resident), transform.errors.importance)
    write_importance(tmp_path / "im.gguf", {name: each.numpy() for name, each in known.items()}, 64)
    (tmp_path / "types.txt").write_text("ffn_down.*=q4_0 token_embd=F16\n.*\\.weight=Q8_0\n")
    return transform


def test_both_give_the_file_of_a_search_without_its_texts(made, types, tmp_path):
    """The first pattern counts, as in llama.cpp."""
    fixed = types(recipe=str(tmp_path / "types.txt"), imatrix=str(tmp_path / "im.gguf"))
    assert not fixed.calibrates(fixed.settings)
    chosen = dict(zip(fixed.genes.names, fixed.genes.chosen(fixed.uniform(1)), strict=True))
    names = {matrix.name: matrix.parameter for matrix in made.matrices}
    down = {name for name in names if name.endswith("down_proj")}
    assert {name for name, kind in chosen.items() if kind == "Q4_0"} == down
    assert [name for name, kind in chosen.items() if kind == "16 bits"] == ["model.embed_tokens"]
    for transform in (made, fixed):
        levels = zip(transform.genes, chosen.values(), strict=True)
        transform.apply([float(gene.levels.index(kind)) if kind in gene.levels else gene.up for gene, kind in levels])
    ours, theirs = made.encoded(), fixed.encoded()
    for name in down:
        assert np.array_equal(ours[names[name]].data, theirs[names[name]].data)


@pytest.mark.parametrize("fault", ["missing", "width", "other", "recipe", "type", "unfit", "floats"])
def test_files_of_another_model_are_refused_with_the_tensor(fault, made, types, tmp_path):
    known = read_importance(tmp_path / "im.gguf")
    name = next(iter(known))
    if fault == "missing":
        del known[name]
    elif fault == "width":
        known[name] = np.ones((1, 7), np.float32)
    write_importance(tmp_path / "im.gguf", {} if fault == "other" else known, 1)
    recipes = {"recipe": "blk.0=Q8_0", "type": ".=Q9_9", "unfit": ".=Q2_K", "floats": ".=F16"}
    if fault in recipes:
        (tmp_path / "types.txt").write_text(recipes[fault])
        given = {"recipe": str(tmp_path / "types.txt")}
    else:
        given = {"imatrix": str(tmp_path / "im.gguf"), "types": ["Q8_0"]}
    facts = {"missing": name, "width": name, "other": r"im\.gguf", "floats": r"types\.txt"}
    with pytest.raises(InputError, match=facts.get(fault, "token_embd")):
        types(**given)


@pytest.mark.parametrize(("key", "value"), [("source_types", False), ("types", ["Q8_0"])])
def test_a_recipe_with_a_choice_of_types_is_refused(key, value):
    with pytest.raises(ValueError, match=f"{key}.*recipe"):
        TypesSettings(recipe="types.txt", **{key: value})


@pytest.mark.parametrize("text", ["attn_v", "=Q8_0", "attn_v=", "(=Q8_0"])
def test_a_file_that_is_no_recipe_is_refused(text, tmp_path):
    (tmp_path / "types.txt").write_text(f"attn_q=Q4_0\n{text}\n")
    with pytest.raises(InputError, match=r"types\.txt"):
        TensorTypes(tmp_path / "types.txt")
