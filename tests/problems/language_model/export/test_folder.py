"""An exported folder loads anywhere and is the model of the run, or it is marked."""

import json
import os
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evoprune.cli import main
from evoprune.problems.language_model.models.blocks import find_matrices
from tests.problems.language_model.recoveries import facts
from tests.problems.language_model.small import plain_perplexity
from tests.runs import result


@pytest.fixture
def copy_of(run_on, tmp_path):
    """A copy of a run on a GPT-2, or another model, whose ``result.json`` a test may spoil."""

    def call(change, *model):
        folder = shutil.copytree(run_on(*model or ("gpt2",)), tmp_path / "copy")
        found = json.loads((folder / "result.json").read_text())
        change(found)
        (folder / "result.json").write_text(json.dumps(found))
        return folder

    return call


def check_plain_load(run, out):
    """Transformers loads the folder ``out``, and finds the zeros and the perplexity of ``run``."""
    model = AutoModelForCausalLM.from_pretrained(out).eval()
    for matrix in find_matrices(model):
        count = int((matrix.weight == 0).sum())
        assert facts(out)["sparsity"]["matrices"][matrix.name]["zeros"] == count
    text = (run.parent / "report.txt").read_text()
    tokens = torch.tensor(AutoTokenizer.from_pretrained(out)(text)["input_ids"])[: 4 * 32].view(4, 32)
    with torch.no_grad():
        known = result(run)["perplexity"]["report"]["evolved"]
        assert plain_perplexity(model, tokens) == pytest.approx(known, rel=1e-4)
    written = model.generate(tokens[:1, :5], min_new_tokens=20, max_new_tokens=20, do_sample=False)
    assert written.shape == (1, 25)
    assert facts(out)["fit"]
    assert facts(out)["check"]["attention"] == "sdpa"


@pytest.mark.usefixtures("fresh_processes")
def test_a_fresh_process_without_evoprune_loads_it_and_others_may_read_it(run_on, tmp_path):
    run, out = run_on("gpt2"), tmp_path / "out"
    before = os.umask(0o027)
    try:
        assert main(["export", str(run), str(out), "--untimed"]) == 0
    finally:
        os.umask(before)
    check_plain_load(run, out)
    assert not facts(out)["check"]["evoprune_imported"]
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o640}


def test_a_plain_load_has_the_runs_zeros_and_perplexity(run_on, tmp_path):
    run, out = run_on("llama"), tmp_path / "out"
    assert main(["export", str(run), str(out), "--untimed"]) == 0
    check_plain_load(run, out)
    assert not [path for path in out.iterdir() if str(run.parent).encode() in path.read_bytes()]


def test_what_the_run_reconstructed_is_written_reconstructed(run_on, tmp_path, capsys):
    run, out = run_on("gpt2", reconstruct="least_squares", stages=(0.25, 0.5, 0.75)), tmp_path / "out"
    assert main(["export", str(run), str(out), "--set", "problem.reconstruct=none"]) == 2
    assert "reconstruct" in capsys.readouterr().err.splitlines()[-1]
    assert main(["export", str(run), str(out), "--untimed"]) == 0
    known, found = result(run)["perplexity"], facts(out)["check"]["perplexity"]
    assert found == pytest.approx(known["report_reconstructed"]["evolved"], rel=1e-3)
    assert found != pytest.approx(known["report"]["evolved"], rel=1e-3)


def test_half_precision_stays_out_of_the_files(run_on, tmp_path):
    out = tmp_path / "out"
    assert main(["export", str(run_on("llama", "bfloat16")), str(out), "--dtype", "float16", "--untimed"]) == 0
    assert json.loads((out / "config.json").read_text())["dtype"] == "float16"


def test_a_perplexity_that_is_not_the_runs_marks_the_output_unfit(copy_of, tmp_path):
    run = copy_of(lambda found: found["perplexity"]["report"].update(evolved=1.5))
    assert main(["export", str(run), str(tmp_path / "out"), "--untimed"]) == 3
    assert "perplexity" in (tmp_path / "out" / "UNFIT.txt").read_text()
    assert not facts(tmp_path / "out")["fit"]


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda found: found.pop("perplexity"), "perplexity"),
        (lambda found: found["protocol"].update(weights_sha256="0"), "weights"),
        (lambda found: found["protocol"]["report_text"].update(sha256="0"), "report text"),
    ],
)
def test_a_result_of_other_inputs_is_refused_and_nothing_is_written(copy_of, tmp_path, capsys, change, fragment):
    run = copy_of(change)
    assert main(["export", str(run), str(tmp_path / "new" / "out")]) == 2
    assert fragment in capsys.readouterr().err
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


def test_an_export_is_in_the_dtype_of_its_source_timed_and_no_larger(run_on, tmp_path):
    """The run computes in float32."""
    home, source, out = run_on("gpt2").parent, tmp_path / "half", tmp_path / "out"
    AutoModelForCausalLM.from_pretrained(home / "model").half().save_pretrained(source)
    AutoTokenizer.from_pretrained(home / "model").save_pretrained(source)
    ask = ["--runs-dir", str(tmp_path), "--name", "run", "--set", f"problem.model={source}"]
    assert main(["run", str(home / "experiment.yaml"), *ask]) == 0
    assert main(["export", str(tmp_path / "run"), str(out)]) == 0
    found = facts(out)
    whole, runtime = (source / "model.safetensors").stat().st_size, found["runtime"]
    assert found["dtype"] == json.loads((out / "config.json").read_text())["dtype"] == "float16"
    assert (found["bytes"], runtime["file_bytes"]["dense"]) == (pytest.approx(whole, rel=0.01), whole)
    for key in ("prefill", "decode", "peak_bytes", "load_seconds"):
        assert min(runtime[key]["dense"], runtime[key]["evolved"]) > 0
    assert runtime["length"] == 63  # the model has 64 positions


def test_without_time_the_folder_is_checked_and_not_timed(run_on, tmp_path):
    assert main(["export", str(run_on("gpt2")), str(tmp_path / "out"), "--seconds", "0"]) == 0
    assert facts(tmp_path / "out")["runtime"] is None
    assert facts(tmp_path / "out")["check"]["perplexity"] > 1


@pytest.mark.parametrize(
    ("out", "option", "value"),
    [("out", "--context", "32"), ("out", "--kv", "q8_0"), ("out.gguf", "--fits", "100"), ("out.gguf", "--kv", "f16")],
)
def test_options_without_effect_are_refused(out, option, value, run_on, tmp_path, capsys):
    run = run_on("gpt2")
    capsys.readouterr()
    assert main(["export", str(run), str(tmp_path / out), option, value]) == 2
    assert option.strip("-") in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
