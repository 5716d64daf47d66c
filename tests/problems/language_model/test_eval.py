"""The command ``eval`` measures runs, exports and any model under a stated protocol."""

import json
import math
import shutil

import pytest

from evoprune.cli import main
from evoprune.problems.language_model.eval import _report_text
from evoprune.problems.language_model.gguf.export.against import flips
from evoprune.problems.language_model.gguf.export.facts import FILE_LABELS
from evoprune.problems.language_model.texts.settings import BUNDLED_REPORT_TEXT
from evoprune.records import recorded


@pytest.fixture
def evaluated(capsys):
    """What ``eval --json`` prints."""

    def call(*arguments):
        capsys.readouterr()
        assert main(["eval", *map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def test_a_run_reads_as_its_result_says(run_on, evaluated):
    run = run_on("gpt2")
    table = evaluated(run)
    result = json.loads((run / "result.json").read_text())
    assert {row["model"]: row["perplexity"] for row in table["rows"]} == pytest.approx(result["perplexity"]["report"])
    assert table["rows"][2]["sparsity"] == result["sparsity"]["prunable"]
    measured = result["protocol"].pop("report_text")
    del measured["bytes"]
    for role in ("search_text", "held_out_text", "objective", "source_bytes"):  # of the run alone
        del result["protocol"][role]
    here = {"threads": table["protocol"]["threads"]}  # the run may have been in another process
    assert table["protocol"] == result["protocol"] | measured | here


def test_another_score_or_text_is_another_protocol(run_on, evaluated):
    run = run_on("gpt2")
    assert evaluated(run, "--set", "problem.score=wanda")["protocol"]["score"] == "wanda by row"
    text = run.parent / "search.txt"
    table = evaluated(run, "--text", text, "--window", 32, "--windows", 2)
    dense = next(line for line in recorded.lines(run / "history.jsonl") if line.get("reference") == "dense")
    assert table["rows"][0]["perplexity"] == pytest.approx(dense["fitness"][0])
    assert (table["protocol"]["windows"], table["protocol"]["source"]) == (2, str(text))


def test_what_a_run_reconstructs_is_measured_both_ways(run_on, evaluated):
    run = run_on("gpt2", reconstruct="least_squares")
    rows = {row["model"]: row for row in evaluated(run)["rows"]}
    known = json.loads((run / "result.json").read_text())["perplexity"]
    assert list(rows) == ["dense", "uniform", "evolved", "uniform, reconstructed", "evolved, reconstructed"]
    for name in ("uniform", "evolved"):
        assert rows[name]["perplexity"] == pytest.approx(known["report"][name])
        updated = rows[f"{name}, reconstructed"]
        assert updated["perplexity"] == pytest.approx(known["report_reconstructed"][name])
        assert updated["sparsity"] == pytest.approx(rows[name]["sparsity"])


def test_the_column_of_a_report_text_is_part_of_its_protocol(run_on, evaluated, tmp_path):
    run = run_on("gpt2")
    exported = shutil.copytree(run.parent / "model", tmp_path / "out")
    protocol = json.loads((run / "result.json").read_text())["protocol"]
    assert protocol["report_text"]["column"] == "text"
    (tmp_path / "rows.jsonl").write_text(json.dumps({"body": (run.parent / "report.txt").read_text()}))
    protocol["report_text"] |= {"source": str(tmp_path / "rows.jsonl"), "column": "body"}
    (exported / "evoprune.json").write_text(json.dumps({"protocol": protocol}))
    found = evaluated(exported)["protocol"]
    assert (found["column"], found["sha256"]) == ("body", protocol["report_text"]["sha256"])


def test_a_file_is_measured_on_the_text_that_its_facts_name(tmp_path):
    text = {"source": "bundled:python-docs", "split": "validation", "window": 32, "windows": 3}
    (tmp_path / "small.evoprune.json").write_text(json.dumps({"protocol": {"report_text": text}}))
    (tmp_path / "small.gguf").write_bytes(b"")
    found = _report_text(tmp_path / "small.gguf")
    assert (found.split, found.windows) == ("validation", 3)
    assert _report_text(tmp_path / "other.gguf") == BUNDLED_REPORT_TEXT


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["x", "--device", "foo"], ["device: "]),
        (["nothing/here", "--device", "cpu"], ["SOURCE: ", "'nothing/here'"]),
        ([""], ["model"]),
        (["runs/typo"], ["runs/typo: no such"]),
        (["./typo"], ["typo: no such"]),
        (["x" * 300], ["File name too long"]),
        (["problems"], ["problems holds", "config.json"]),
        (["setup.cfg"], ["setup.cfg: is a file"]),
        (["bundled:gpt2-mini", "--text", "nofile.txt"], ["--text: nofile.txt: no such file"]),
        (["bundled:gpt2-mini", "--set", "problem.sparsity=0.5"], ["--set: "]),
        (["bundled:gpt2-mini", "--limit", "3"], ["limit"]),
        (["bundled:gpt2-mini", "--also", "bundled:python-docs"], ["also"]),
        (["a.gguf", "--against", "b.gguf", "--also", "x.txt"], ["--also: x.txt"]),
        (["a.gguf", "--against", "b.gguf", "--tasks", "piqa"], ["tasks", "piqa", ".jsonl"]),
        (["bundled:gpt2-mini", "--against", "bundled:gpt2-mini"], ["--against: ", ".gguf"]),
        (["bundled:gpt2-mini", "--window", "512"], ["512", "256 positions"]),
    ],
)
@pytest.mark.usefixtures("offline")
def test_what_cannot_be_measured_is_refused(capsys, arguments, fragments):
    assert main(["eval", *arguments]) == 2
    told = capsys.readouterr().err
    assert all(fragment in told for fragment in fragments)


@pytest.mark.usefixtures("fresh_processes")
def test_the_divergence_is_that_of_all_tokens(bundled, evaluated, tmp_path):
    for package in ("gguf", "llama_cpp_py_sync"):
        pytest.importorskip(package)
    from evoprune.problems.language_model.gguf.base import make_base
    from evoprune.problems.language_model.gguf.write import contents
    from tests.problems.language_model.gguf.models import logits_of

    session, path = bundled().session, tmp_path / "pruned.gguf"
    resident, report = session.resident, session.texts.report
    base = make_base(resident.model, resident.tokenizer, "pruned")
    session.transform.apply([0.3] * len(session.transform.dense))
    contents(resident.model, base, {}).write(path)
    session.transform.apply(session.transform.dense)
    ours, theirs = (
        logits[:, :-1].double().log_softmax(-1) for logits in logits_of(resident.model, path, report.tokens)
    )
    expected = (ours.exp() * (ours - theirs)).sum(-1)
    text = ["--text", report.settings.source, "--split", "test", "--window", 64, "--windows", 4]
    table = evaluated(path, "--against", "bundled:gpt2-mini", *text)
    (row,) = table["rows"]
    assert table["protocol"]["sha256"] == report.sha256
    assert row["divergence"] == pytest.approx(float(expected.mean()), abs=1e-4)  # of 256 tokens it is 0.02 less
    assert row["p99"] == pytest.approx(float(expected.quantile(0.99)), abs=1e-3)
    of_bits = row["bits_per_byte"] / math.log2(row["perplexity"])  # tokens in a byte
    assert row["bits_behind"] == pytest.approx(of_bits * math.log2(row["perplexity_ratio"]))
    assert table["protocol"]["compared_with"].startswith("gpt2-mini ")
    assert row.keys() - FILE_LABELS.keys() == {"model", "text", "bytes", "perplexity"}  # which need no other words
    assert row["same_top"] == pytest.approx(float((ours.argmax(-1) == theirs.argmax(-1)).double().mean()))


@pytest.mark.parametrize(
    ("source", "free", "fragments"),
    [
        (None, 2 * 62 * 260 - 1, ["--against: ", "62 predictions", "260 tokens", "--windows", "EVOPRUNE_CACHE"]),
        (None, 2 * 62 * 260, ["empty.gguf: llama.cpp cannot time it"]),
        ("no/such.gguf", 0, ["--against: no/such.gguf"]),
    ],
)
def test_a_comparison_needs_its_source_and_room_on_the_disk(
    tiny, source, free, fragments, tmp_path, monkeypatch, capsys
):
    """For two bytes of each of 260 tokens, in each of 62 predictions."""
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    (file := tmp_path / "empty.gguf").touch()
    assert main(["eval", str(file), "--against", source or str(tiny), "--window", "32", "--windows", "2"]) == 2
    told = capsys.readouterr().err
    assert all(fragment in told for fragment in fragments)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (5, 0), (7, 3), (2, 9)])
def test_flips_are_judged_by_the_sign_test(lost, gained):
    before = [True] * lost + [False] * gained + [True, False]
    after = [False] * lost + [True] * gained + [True, False]
    count, least = lost + gained, min(lost, gained)
    tail = sum(math.comb(count, each) for each in range(least + 1)) / 2**count
    found = flips(before, after)
    assert (found["became_wrong"], found["became_right"]) == (lost, gained)
    assert found["mcnemar_p"] == pytest.approx(min(1.0, 2 * tail))


@pytest.mark.parametrize("arguments", [["--device", "cuda"], ["--dtype", "float16"], ["--against", "some.gguf"]])
def test_a_runs_own_settings_are_changed_by_set_alone(run_on, capsys, arguments):
    assert main(["eval", str(run_on("gpt2")), *arguments]) == 2
    assert f"{arguments[0]}: " in capsys.readouterr().err


def test_a_runs_name_alone_is_a_likely_slip(run_on, capsys, monkeypatch, tmp_path):
    shutil.copytree(run_on("gpt2"), tmp_path / "runs" / "small")
    monkeypatch.chdir(tmp_path)
    assert main(["eval", "small"]) == 2
    assert "did you mean runs/small?" in capsys.readouterr().err


def test_tasks_from_local_files(run_on, capsys, harness_task):
    run = run_on("gpt2")
    capsys.readouterr()
    assert main(["eval", str(run), "--tasks", "of_my_own", "--include-path", str(harness_task)]) == 0
    assert "of_my_own acc" in capsys.readouterr().out
