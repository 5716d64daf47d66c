"""Fewer tokens: the contract, losses that are comparable, every byte of the file, and exports."""

from __future__ import annotations

import json
import math

import pytest
import torch

from evoprune import InputError
from evoprune.api import Run
from evoprune.problems.language_model.budgets.amounts import tokens
from evoprune.problems.language_model.export import ragged_model
from evoprune.problems.language_model.export.folder import Folder
from evoprune.problems.language_model.gguf.export.format import GgufFormat
from evoprune.problems.language_model.models.forward import ids
from evoprune.problems.language_model.models.load import copy_of
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.problems.language_model.testing import check_format, check_transform
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.windows import cut_windows
from evoprune.problems.language_model.vocabulary.goal import needed_tokens
from evoprune.problems.language_model.vocabulary.transform import _gains
from evoprune.testing import check_budget
from tests.problems.language_model.gguf.types.test_file_size import check_bytes
from tests.problems.language_model.small import run_in

TEXT = {"source": "bundled:python-docs", "window": 64}
VOCABULARY = {"use": "vocabulary", "step": 1024}
TYPES = {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False}
PROBLEM = {
    "model": "bundled:gpt2-mini",
    "dtype": "float32",
    "device": "cpu",
    "transforms": VOCABULARY,
    "held_out_windows": 2,
    "search_text": TEXT | {"split": "validation", "windows": 4},
    "report_text": TEXT | {"split": "test", "windows": 4},
    "calibration_text": TEXT | {"split": "train", "windows": 64},
}


def session_of(**settings):
    return LanguageModel(LanguageModelSettings(**PROBLEM | settings)).session


@pytest.fixture(scope="module")
def session():
    return session_of()


@pytest.fixture(scope="module")
def typed():
    """A session that searches types, too."""
    return session_of(transforms=[VOCABULARY, TYPES])


@pytest.mark.parametrize("which", ["session", "typed"])
def test_the_contract_is_kept(request, which):
    check_transform(request.getfixturevalue(which), pairs=2)


def test_a_perplexity_is_that_of_the_bytes_of_a_token_of_the_source(session):
    windows, resident = session.texts.report, session.resident
    per_token = windows.predicted_bytes(resident.tokenizer) / windows.predictions
    session.transform.apply([2.0])
    read = session.texts.retokenised(windows)
    nats = total = 0.0
    for row in read.tokens:
        logits = resident.model(input_ids=ids(row)[None]).logits[0, :-1].double().log_softmax(-1)
        counted = row[1:] >= 0
        nats -= float(logits.gather(1, ids(row)[1:, None])[counted].sum())
        total += len(resident.tokenizer.decode(row[1:][counted]).encode())
    assert total == windows.predicted_bytes(session.texts.tokenizer)
    assert ids(read.tokens).max() < len(resident.tokenizer) < len(session.texts.tokenizer)
    assert session.fitness.score_model(windows).value == pytest.approx(math.exp(nats / total * per_token), rel=1e-4)


@pytest.mark.parametrize("begin", [True, False])
def test_a_window_stays_the_same_text(session, begin):
    texts, transform = session.texts, session.transform
    windows = cut_windows(TextSettings(**PROBLEM["search_text"], begin=begin), texts.tokenizer, "search_text")
    for level in (1.0, 2.0):
        transform.apply([level])
        read = texts.retokenised(windows)
        for row, own in zip(read.tokens, windows.tokens, strict=True):
            counted = row[1:][row[1:] >= 0]
            assert session.resident.tokenizer.decode(counted) == texts.tokenizer.decode(own[1:])
            if set(own.tolist()) <= set(transform.remaining_tokens([level])):
                assert len(counted) == len(own) - 1


def test_kept_tokens_gain_the_shares_of_missing_ones(session):
    (transform,), windows = session.transform.transforms, session.texts.search
    transform.apply(transform.dense)
    gains = _gains(session.resident, windows.tokens, transform.order, transform._counts)["gains"]
    for level, found in enumerate(gains.tolist()[:3], 1):
        kept, gain = list(transform.remaining_tokens([level])), 0.0
        for row in windows.tokens:
            shares = session.resident.model(input_ids=row[None]).logits[0, :-1].softmax(-1)[:, kept].sum(-1)
            gain -= float(shares.log()[torch.isin(row[1:], torch.tensor(kept))].sum())
        assert found == pytest.approx(gain / windows.predictions, rel=1e-3)


def test_as_many_tokens_stay_as_the_command_tells(monkeypatch):
    monkeypatch.setattr("evoprune.problems.language_model.vocabulary.goal._LOST", 1.0)
    words, searched = TEXT | {"split": "train"}, TEXT | {"split": "validation"}
    session = session_of(transforms={"use": "vocabulary", "texts": [words]})
    rows = len(session.resident.model.get_input_embeddings().weight)
    _, count = needed_tokens(session.resident.tokenizer, rows, words, searched)
    (tokens_gene,) = session.transform.genes
    assert count in tokens_gene.levels[1:]  # of any other number, the next level below would stay


def test_without_other_changes_the_divergence_is_the_loss_of_the_dense_model():
    session = session_of(objective="kl")
    value, perplexities = session.fitness.value([2.0])[0], []
    for level in (0.0, 2.0):
        session.transform.apply([level])
        perplexities.append(session.fitness.score_model(session.texts.search).value)
    assert value == pytest.approx(math.log(perplexities[1] / perplexities[0]), rel=1e-4)
    assert session.fitness.value([0.0])[0] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("seen", ["search_text", "report_text"])
def test_a_text_that_measures_the_model_does_not_decide_which_tokens_stay(seen):
    text = {key: PROBLEM[seen][key] for key in ("source", "split")}
    with pytest.raises(InputError, match=r"problem\.transforms\.texts.*" + seen):
        session_of(transforms=VOCABULARY | {"texts": [text]})


def test_rows_of_a_quantised_embedding_are_those_of_the_whole_one(typed):
    transform, embedding = typed.transform, typed.resident.model.get_input_embeddings()
    every = [0.0, *[1.0] * (len(transform.genes) - 1)]
    transform.apply(every)
    whole = embedding.weight.clone()
    fewer = [1.0, *every[1:]]
    transform.apply(fewer)
    assert torch.equal(embedding.weight, whole[list(transform.remaining_tokens(fewer))])


def test_a_limit_of_tokens_counts_the_remaining_ones(session):
    (transform,), budget = session.transform.transforms, tokens(session.transform, at_most=3100)
    spent = [budget.spent([float(level)]) for level in range(len(transform.vocabularies))]
    assert spent == [4096, *(len(kept) for kept in transform.vocabularies[1:])]
    check_budget(budget)


def test_a_folder_of_blocks_that_differ_is_read_without_the_texts(tmp_path):
    session = session_of(transforms=[VOCABULARY, "sublayers"])
    transform, model = session.transform, session.resident.model
    genome = [2.0, 1.0, *transform.dense[2:]]
    transform.apply(genome)
    window = torch.arange(32)[None]
    with torch.inference_mode():
        expected = model(window).logits
        copy = copy_of(model, model.dtype)
        transform.write(copy)
        ragged_model.save(copy, session.settings.transforms, transform.replayed_genes(genome), tmp_path)
        assert torch.allclose(ragged_model.load(tmp_path)(window).logits, expected, atol=1e-5)
    assert expected.shape[-1] < session.transform.transforms[0]._rows


def test_scripts_that_lose_tokens_are_told(session):
    (transform,) = session.transform.transforms
    (line,) = transform.notes([1.0])
    script, (kept, there) = min(transform.order.scripts(3072).items(), key=lambda each: each[1][0] - each[1][1])
    assert all(fact in line for fact in ("3,072", f"{4096:,}", f"{script} {kept:,} of {there:,}"))
    assert transform.notes(transform.dense) == []


@pytest.mark.parametrize("role", ["report_text", "second_text"])
def test_lines_whose_answers_count_are_refused_before_the_search(tmp_path, role):
    lines = ({"prompt": f"Which of them is number {n}?", "answer": f" The {n}th."} for n in range(8))
    (tmp_path / "task.jsonl").write_text("\n".join(map(json.dumps, lines)))
    task = {"source": str(tmp_path / "task.jsonl"), "window": 64, "windows": 4}
    problem = LanguageModel(LanguageModelSettings(**PROBLEM | {role: task}))
    with pytest.raises(InputError, match=r"task\.jsonl"):
        problem.fingerprint()


def test_a_small_file_counts_every_byte_and_exports_read_texts_alike(typed, tmp_path):
    pytest.importorskip("gguf")
    check_bytes(typed.transform, tmp_path, 4)
    problem = PROBLEM | {
        "use": "language_model",
        "transforms": [VOCABULARY, TYPES | {"types": ["Q8_0"]}],  # which alone removes less than half
        "budget": {"use": "bytes", "removed": 0.5},
        "second_text": {"source": str(tmp_path / "french.txt"), "window": 64},
    }
    (tmp_path / "french.txt").write_text("Les fonctions sont définies plus bas. " * 30)
    run = Run.open(run_in(tmp_path, problem))
    assert run.problem.session.transform.remaining_tokens(run.best.genome) is not None
    bits, result, texts = run.result.second[0].bits_per_byte, run.result, run.problem.session.texts
    assert 0 < bits["dense"] < bits["evolved"]
    for described, read in ((result.protocol.report_text, texts.report), (result.second[0].text, texts.second[0])):
        assert described.bytes == read.predicted_bytes(texts.tokenizer)
    for kind, name in ((Folder, "smaller"), (GgufFormat, "smaller.gguf")):
        (place := tmp_path / kind.__name__).mkdir()
        check_format(kind, run, place / name)
