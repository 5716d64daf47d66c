"""Windows that begin with the token that a tokenizer puts before a text, and what must agree on them."""

import json
import math
import shutil
from itertools import chain
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from evoprune import InputError
from evoprune.cli import main
from problems.distillation.settings import RecoverSettings
from problems.distillation.text import recovery_text
from problems.export import check
from problems.language_model.settings import LanguageModelSettings
from problems.models.resident import Resident
from problems.texts.overlap import share_in_common
from problems.texts.settings import TextSettings
from problems.texts.text_splits import Texts
from problems.texts.windows import cut_windows, settings_of, share_a_window
from tests.problems.small import BEGIN, problem_in


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return problem_in(tmp_path_factory.mktemp("begin"), "llama", begin=True)


@pytest.fixture(scope="module")
def resident(told):
    return Resident.load(LanguageModelSettings(**told))


@pytest.fixture
def texts(told, resident):
    return Texts(LanguageModelSettings(**told), resident, calibrates=True)


def numbers_of(source):
    return [int(word[1:]) for word in Path(source).read_text().split()]


def places(windows):
    """The places in the text of the tokens of ``windows``, each window of which begins with one that is not in it."""
    length = windows.tokens.shape[1] - 1
    return set(chain.from_iterable(range(place * length, (place + 1) * length) for place in windows.places))


def test_each_window_is_that_token_and_the_next_of_the_text(texts, told):
    report, numbers = texts.report, numbers_of(told["report_text"]["source"])
    expected = [[BEGIN, *numbers[31 * at : 31 * at + 31]] for at in range(4)]
    assert report.tokens.tolist() == expected
    assert report.predictions == 4 * 31
    assert (report.protocol()["begin"], report.protocol()["window"]) == ("w127", 32)
    assert texts.fingerprint()["begin"] == "w127"


@pytest.mark.parametrize(("begin", "first"), [(False, None), (True, "w127"), ("auto", "w127")])
def test_settings_decide(told, resident, begin, first):
    windows = cut_windows(TextSettings(**told["report_text"], begin=begin), resident.tokenizer, "report_text")
    assert windows.begin == first
    assert settings_of(windows.protocol()).begin is (first is not None)
    assert windows.text.flatten().tolist() == numbers_of(told["report_text"]["source"])[: windows.text.numel()]


def test_a_tokenizer_that_adds_no_token_has_windows_of_text_alone_and_one_without_any_cannot_be_asked(small):
    tokenizer = AutoTokenizer.from_pretrained(small["model"])
    text = small["report_text"]
    plain = cut_windows(TextSettings(**text), tokenizer, "report_text")
    assert plain.tokens.flatten().tolist() == numbers_of(text["source"])[:128]
    assert plain.protocol()["begin"] is None
    with pytest.raises(InputError, match="begin: the tokenizer has no token that begins a text"):
        cut_windows(TextSettings(**text, begin=True), tokenizer, "report_text")


def test_windows_share_no_token_of_the_text_though_all_begin_alike(texts, told, resident):
    assert not places(texts.held_out) & (places(texts.search) | places(texts.calibration))
    found = recovery_text(RecoverSettings(held_out=3), resident, texts.search, texts.report.settings)
    assert not places(found.whole) & places(texts.search)
    assert len(found.whole.tokens) == 32 * 32 // 31 - 2
    assert set(found.train[:, 0].tolist()) == {BEGIN}
    report = texts.report
    assert not share_a_window(report, texts.search)
    assert share_in_common(report, texts.search) == 0
    other = cut_windows(TextSettings(**told["report_text"] | {"window": 47}), resident.tokenizer, "other")
    assert share_a_window(report, other)  # at other places
    assert share_in_common(report, other) == 1


def slow_perplexity(folder, source, windows, window):
    """Token by token, each from the beginning token and the text before it in its window."""
    model = AutoModelForCausalLM.from_pretrained(folder).requires_grad_(False)
    numbers, losses = numbers_of(source), []
    for at in range(windows):
        row = numbers[at * (window - 1) : (at + 1) * (window - 1)]
        for place, token in enumerate(row):
            logits = model(torch.tensor([[BEGIN, *row[:place]]])).logits[0, -1]
            losses.append(-float(logits.log_softmax(0)[token]))
    return math.exp(sum(losses) / len(losses))


@pytest.fixture(scope="module")
def run(run_on):
    return run_on("llama", begin=True)


def test_report_export_and_eval_agree_with_a_slow_computation(run, told, tmp_path, capsys):
    result = json.loads((run / "result.json").read_text())
    report = run.parent / "report.txt"
    assert result["protocol"]["report_text"]["begin"] == "w127"
    dense = slow_perplexity(run.parent / "model", report, 4, 32)
    assert result["perplexity"]["report"]["dense"] == pytest.approx(dense, rel=1e-4)
    assert main(["export", str(run), str(tmp_path / "out"), "--untimed"]) == 0
    exported = json.loads((tmp_path / "out" / "evoprune.json").read_text())
    evolved = slow_perplexity(tmp_path / "out", report, 4, 32)
    assert exported["check"]["perplexity"] == pytest.approx(evolved, rel=1e-4)
    assert exported["check"]["tokens_sha256"] == result["protocol"]["report_text"]["sha256"]
    capsys.readouterr()
    assert main(["eval", str(tmp_path / "out"), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["rows"][0]["perplexity"] == pytest.approx(evolved, rel=1e-4)
    assert table["protocol"]["begin"] == "w127"


def test_an_export_whose_tokenizer_begins_otherwise_is_noticed(told):
    tokenizer = AutoTokenizer.from_pretrained(told["model"])
    job = {"text": told["report_text"]["source"], "begin": True, "window": 32, "windows": 2}
    assert check.tokenise(tokenizer, job)[:, 0].tolist() == [BEGIN, BEGIN]
    assert check.tokenise(tokenizer, job | {"begin": False}).flatten().tolist() == numbers_of(job["text"])[:64]


def of_before(run, folder, **text):
    """The run as it was recorded before windows could begin with a token."""
    shutil.copytree(run, folder)
    for name, load, dump in (
        ("config.yaml", yaml.safe_load, yaml.safe_dump),
        ("environment.json", json.loads, json.dumps),
        ("result.json", json.loads, json.dumps),
    ):
        held = load((folder / name).read_text())
        _drop(held, "begin")
        (folder / name).write_text(dump(held))
    return folder


def _drop(held, key):
    if isinstance(held, dict):
        held.pop(key, None)
        for value in held.values():
            _drop(value, key)


def test_a_run_of_before_is_the_same_where_the_tokenizer_adds_nothing(run_on, tmp_path, capsys):
    folder = of_before(run_on("gpt2"), tmp_path / "run")
    assert main(["resume", str(folder)]) == 0
    assert "done already" in capsys.readouterr().out
    assert main(["export", str(folder), str(tmp_path / "out"), "--untimed"]) == 0


def test_a_run_of_before_whose_tokenizer_begins_texts_is_read_as_it_was_or_refused(run, tmp_path, capsys):
    """What stands for it is a run with ``begin: false``, whose record lost the key."""
    spec = yaml.safe_load((run.parent / "experiment.yaml").read_text())
    roles = ("search_text", "report_text", "calibration_text")
    for role in roles:
        spec["problem"][role]["begin"] = False
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(spec))
    assert main(["run", str(tmp_path / "experiment.yaml"), "--runs-dir", str(tmp_path), "--name", "whole"]) == 0
    folder = of_before(tmp_path / "whole", tmp_path / "run")
    capsys.readouterr()
    assert main(["resume", str(folder)]) == 2
    assert "fingerprint.begin was None when the run began and is 'w127' now" in capsys.readouterr().err
    assert main(["export", str(folder), str(tmp_path / "out"), "--untimed"]) == 2
    assert "give --set problem.report_text.begin=false" in capsys.readouterr().err
    settings = chain.from_iterable(("--set", f"problem.{role}.begin=false") for role in roles)
    assert main(["export", str(folder), str(tmp_path / "out"), "--untimed", *settings]) == 0


@pytest.mark.parametrize("begin", ["auto", "false"])
def test_tasks_begin_as_the_windows_do(run, tmp_path, capsys, monkeypatch, begin):
    pytest.importorskip("lm_eval")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"context": "w1 w2", "word": " w3"}))
    task = {
        "task": "one_word", "dataset_path": "json", "test_split": "test", "output_type": "loglikelihood",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
        "doc_to_text": "{{context}}", "doc_to_target": "{{word}}", "metric_list": [{"metric": "perplexity"}],
    }  # fmt: skip
    (tmp_path / "one_word.yaml").write_text(yaml.safe_dump(task))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    capsys.readouterr()
    given = ["--tasks", "one_word", "--include-path", str(tmp_path), "--json"]
    texts = [part for role in ("search_text", "report_text", "calibration_text")
             for part in ("--set", f"problem.{role}.begin={begin}")]  # fmt: skip
    assert main(["eval", str(run), *given, *texts]) == 0
    dense = json.loads(capsys.readouterr().out)["rows"][0]
    model = AutoModelForCausalLM.from_pretrained(run.parent / "model").requires_grad_(False)
    row = [BEGIN, 1, 2] if begin == "auto" else [1, 2]
    expected = math.exp(-float(model(torch.tensor([row])).logits[0, -1].log_softmax(0)[3]))
    assert dense["one_word perplexity"] == pytest.approx(expected, rel=1e-3)
