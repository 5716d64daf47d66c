"""Models that only evoprune loads are read back as they were written."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from evoprune import InputError
from evoprune.cli import main
from evoprune.experiment.spec import Choice
from evoprune.problems.language_model.export import ragged_model
from evoprune.problems.language_model.models.load import load_model
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.problems.language_model.texts.windows import cut_windows
from tests.problems.language_model.small import ARCHITECTURES, plain_perplexity, problem_in

SUBLAYERS = (Choice(use="sublayers"),)
GENOME = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    made = {}

    def of(architecture):
        if architecture not in made:
            given = problem_in(tmp_path_factory.mktemp(architecture), architecture)
            made[architecture] = LanguageModel(LanguageModelSettings(**given, transforms="sublayers")).session
        made[architecture].transform.apply(GENOME)
        return made[architecture]

    return of


@pytest.fixture
def written(sessions, tmp_path):
    def write(architecture):
        session = sessions(architecture)
        ragged_model.save(session.resident.model, SUBLAYERS, GENOME, tmp_path)
        return session, tmp_path

    return write


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_logits_are_the_same(written, tokens, architecture):
    session, folder = written(architecture)
    model = ragged_model.load(folder)
    with torch.inference_mode():
        expected = session.resident.model(tokens, use_cache=False).logits
        assert torch.allclose(model(tokens, use_cache=False).logits, expected, atol=1e-5)
    assert ragged_model.is_ragged(folder)


def test_eval_measures_such_a_folder(written, capsys):
    session, folder = written("llama")
    session.resident.tokenizer.save_pretrained(folder)
    report = session.texts.report
    asked = ["--text", report.settings.source, "--window", str(report.settings.window), "--json"]
    assert main(["eval", str(folder), *asked]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    windows = cut_windows(report.settings.model_copy(update={"windows": None}), session.resident.tokenizer, "text")
    assert row["perplexity"] == pytest.approx(plain_perplexity(session.resident.model, windows.tokens), rel=1e-4)


def test_a_cache_of_keys_and_values_changes_nothing_where_the_first_attention_is_gone(written, tokens):
    model = ragged_model.load(written("llama")[1])
    given = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    with_cache, without = (model.generate(tokens[:1, :6], use_cache=use, **given) for use in (True, False))
    assert torch.equal(with_cache, without)


def test_what_ends_a_text_is_kept(sessions, tmp_path):
    model = sessions("llama").resident.model
    before, model.generation_config = model.generation_config, GenerationConfig(eos_token_id=[0, 7], do_sample=True)
    try:
        ragged_model.save(model, SUBLAYERS, GENOME, tmp_path)
        kept = ragged_model.load(tmp_path).generation_config
        assert (kept.eos_token_id, kept.do_sample) == ([0, 7], True)
    finally:
        model.generation_config = before


def test_transformers_alone_refuses_it_and_it_is_not_cut_again(written):
    session, folder = written("llama")
    session.resident.tokenizer.save_pretrained(folder)
    with pytest.raises(OSError, match="no file named model"):
        AutoModelForCausalLM.from_pretrained(folder)
    with pytest.raises(InputError, match="not cut again"):
        load_model(ModelSettings(model=str(folder)))


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda folder: (folder / ragged_model.STRUCTURE).write_text("{}"), "is not the description of a model"),
        (lambda folder: (folder / ragged_model.WEIGHTS).write_bytes(b"x"), "cannot be read"),
        (lambda folder: _set_genome(folder, [0.0] * 6), "does not hold the weights"),
        (lambda folder: _set_genome(folder, [0.5] * 6), "expected a possible value for each gene"),
    ],
    ids=["empty", "truncated", "other genome", "no level"],
)
def test_a_folder_that_was_damaged_is_refused(written, change, fragment):
    _, folder = written("gpt2")
    change(folder)
    with pytest.raises(InputError, match=fragment):
        ragged_model.load(folder)


def _set_genome(folder, genome):
    structure = json.loads((folder / ragged_model.STRUCTURE).read_text())
    (folder / ragged_model.STRUCTURE).write_text(json.dumps(structure | {"genome": genome}))
