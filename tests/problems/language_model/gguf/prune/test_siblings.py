"""Several models at one size: their files, and the table that compares them on the same bytes of text."""

from __future__ import annotations

import math

import pytest

from evoprune.cli import main
from evoprune.problems.language_model.gguf.runtime import piece_losses
from evoprune.problems.language_model.prune import siblings
from evoprune.problems.language_model.prune.siblings import cut
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text
from tests.problems.language_model.gguf.models import (
    VOCABULARY,
    byte_tokenizer,
    random_llama,
    random_qwen2,
    write_model,
    write_quantised,
)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "all.txt"
    path.write_text(load_text(TextSettings(source="bundled:python-docs", split="train"), "text")[:40_000])
    return path


def uniform(model):
    """Zero all weights: every token is as likely."""
    for parameter in model.parameters():
        parameter.data.zero_()
    return model


@pytest.fixture
def files(tmp_path):
    """A model that predicts nothing, and a random one, which is worse."""
    even = write_model(uniform(random_llama(blocks=1)), tmp_path / "even.gguf")
    return even, write_model(random_qwen2(blocks=1), tmp_path / "wrong.gguf")


@pytest.fixture
def prune(tmp_path, capfd):
    def call(*arguments):
        code = main(["prune", *map(str, arguments), "--runs-dir", str(tmp_path / "runs")])
        return code, *capfd.readouterr()

    return call


def test_every_byte_after_the_context_is_scored_and_no_other(files):
    """Also where a token of the whole would span both: `the` is one token."""
    even, _ = files
    pieces = [("so is", " the end"), ("t", "he"), ("abc", "def")]
    losses = piece_losses(even, pieces)
    tokens = [len(byte_tokenizer()(text)["input_ids"]) for _, text in pieces]
    assert losses == pytest.approx([count * math.log(VOCABULARY) for count in tokens], rel=1e-3)


def test_pieces_are_spread_over_the_text_and_end_with_words():
    text = "".join(f"word{number} " for number in range(4000))
    pieces = cut(text, 5)
    assert [text.index(context) for context, _ in pieces] == [len(text) * number // 5 for number in range(5)]
    for context, scored in pieces:
        assert context + scored in text
        assert not context[-1].isspace()
        assert scored[0] == " "
        assert not scored[-1].isspace()
    assert len(cut("one short text", 5)) == 1


def test_small_models_take_part_as_they_are_on_the_same_text(prune, files, text, tmp_path, monkeypatch):
    read = {}
    monkeypatch.setattr(
        "evoprune.problems.language_model.gguf.runtime.piece_losses",
        lambda path, pieces: read.update({path: [text for _, text in pieces]}) or piece_losses(path, pieces),
    )
    code, out, err = prune(*files, "--size=1MB", "--text", text, "--time=2s", "--out", tmp_path / "made")
    assert code == 0, err
    first, second = read.values()
    assert first == second
    rows = [line.split() for line in out.splitlines()]
    assert {rows[1][0], rows[2][0]} == {"even.gguf,", "wrong.gguf,"}
    assert all(f"{path.stat().st_size:,}" in out for path in files)
    best = next(line for line in out.splitlines() if line.startswith("best"))
    assert best.index("even.gguf") < best.index("wrong.gguf")
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["missing.gguf", "--size=1MB"], "missing.gguf"),
        (["folder", "--size=1MB"], "folder"),
        (["other/even.gguf", "--size=30kB"], "rename"),
        (["wrong.gguf"], "--size"),
        (["wrong.gguf", "--size=1B"], "--size"),
        (["wrong.gguf", "--size=1MB", "--print-config"], "--print-config"),
        (["wrong.gguf", "--size=1MB", "--out=one.gguf"], "--out"),
        (["wrong.gguf", "--size=100kB"], "even-100kB.gguf"),
    ],
)
def test_faults_are_one_line_before_any_work(prune, files, text, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(siblings.subprocess, "Popen", lambda *_, **__: pytest.fail("worked"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "even.gguf").write_bytes(files[0].read_bytes())
    (tmp_path / "even-100kB.gguf").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = prune("even.gguf", *arguments, "--text", text)
    (line,) = [line for line in err.splitlines() if line.startswith("evoprune: ")]
    assert (code, out) == (2, ""), err
    assert named in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def large(tmp_path):
    return write_quantised(random_llama(blocks=4), tmp_path / "large.gguf", "Q8_0")


def test_a_model_that_cannot_be_made_leaves_the_others(prune, files, large, text, monkeypatch):
    monkeypatch.setattr(siblings.Siblings, "_make", lambda *_: "no room")
    code, out, err = prune(large, *files, "--size=150kB", "--text", text, "--time=20s")
    assert code == 3
    assert "no room" in err.splitlines()[-1]
    assert "best at 150kB: even.gguf" in out


def test_an_interruption_names_the_command_that_goes_on_with_finished_files(prune, large, text, tmp_path, monkeypatch):
    second, made = write_quantised(random_qwen2(blocks=4), tmp_path / "second.gguf", "Q8_0"), []

    def make(_, call, seconds):
        made.append(seconds)
        if len(made) > 1:
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(siblings.Siblings, "_make", make)
    code, _, err = prune(large, second, "--size=150kB", "--text", text, "--time=20s", "--out", tmp_path)
    assert code == 3
    assert f"prune {tmp_path / 'large-150kB.gguf'} {second} --size=150kB" in err.splitlines()[-1]
    assert sum(made) < 20


@pytest.mark.slow
def test_larger_models_are_made_first(prune, large, text, tmp_path):
    small = write_model(uniform(random_llama(blocks=1)), tmp_path / "small.gguf")
    code, out, err = prune(
        large, small, "--size=150kB", "--text", text, "--time=4s", "--against-preset=none", "--out", tmp_path / "made"
    )
    assert code == 0, err
    made = tmp_path / "made" / "large-150kB.gguf"
    assert made.stat().st_size <= 150_000
    assert made.name in out
    assert "small.gguf, as it is" in out
