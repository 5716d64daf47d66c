"""What is written loads anywhere, is what the run found, and is marked where it is not."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from evoprune.cli import main
from problems.export.format import public_name
from problems.models.attention import NAME
from problems.models.blocks import find_matrices
from tests.problems.small import ARCHITECTURES, plain_perplexity

OTHERS = ARCHITECTURES[1:]
STAGES = (0.25, 0.5, 0.75)


def exported(folder):
    return json.loads((folder / "evoprune.json").read_text())


@pytest.fixture
def copy_of(run_on, tmp_path):
    """A copy of a GPT-2 run whose ``result.json`` a test may spoil."""

    def call(change):
        folder = shutil.copytree(run_on("gpt2"), tmp_path / "copy")
        result = json.loads((folder / "result.json").read_text())
        change(result)
        (folder / "result.json").write_text(json.dumps(result))
        return folder

    return call


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(run_on, tmp_path):
    run, out = run_on("gpt2"), tmp_path / "out"
    most = 64 * 1024  # bytes of a file: configs fit, weights do not
    script = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most})); "
    script += "import sys; from evoprune.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", script, "export", run, out], capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("architecture", ["gpt2", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_plain_load_has_the_runs_zeros_and_perplexity(run_on, architecture, tmp_path):
    run, out = run_on(architecture), tmp_path / "out"
    assert main(["export", str(run), str(out), "--untimed"]) == 0
    result, facts = json.loads((run / "result.json").read_text()), exported(out)
    model = AutoModelForCausalLM.from_pretrained(out).eval()
    for matrix in find_matrices(model):
        count = int((matrix.weight == 0).sum())
        assert facts["sparsity"]["matrices"][matrix.name]["zeros"] == count
    text = (run.parent / "report.txt").read_text()
    tokens = torch.tensor(AutoTokenizer.from_pretrained(out)(text)["input_ids"])[: 4 * 32].view(4, 32)
    with torch.no_grad():
        assert plain_perplexity(model, tokens) == pytest.approx(result["perplexity"]["report"]["evolved"], rel=1e-4)
    written = model.generate(tokens[:1, :5], min_new_tokens=20, max_new_tokens=20, do_sample=False)
    assert written.shape == (1, 25)
    assert facts["fit"]
    assert not facts["check"]["evoprune_imported"]
    assert facts["check"]["attention"] != NAME


@pytest.mark.parametrize("stages", [(), pytest.param(STAGES, marks=pytest.mark.slow)])
def test_what_the_run_reconstructed_is_written_reconstructed(stages, run_on, tmp_path):
    run, out = run_on("gpt2", reconstruct="sparsegpt", stages=stages), tmp_path / "out"
    assert main(["export", str(run), str(out), "--untimed"]) == 0
    known = json.loads((run / "result.json").read_text())["perplexity"]
    found = exported(out)["check"]["perplexity"]
    assert found == pytest.approx(known["report_reconstructed"]["evolved"], rel=1e-3)
    assert found != pytest.approx(known["report"]["evolved"], rel=1e-3)


def test_what_was_reported_reconstructed_is_not_written_masked(run_on, tmp_path, capsys):
    run = run_on("gpt2", reconstruct="sparsegpt")
    masked = ["--set", "problem.reconstruct=none"]
    assert main(["export", str(run), str(tmp_path / "out"), *masked]) == 2
    assert "reconstruct was sparsegpt in the run and is none now: leave it out of --set" in capsys.readouterr().err


@pytest.mark.slow
def test_half_precision_and_our_attention_stay_out_of_the_files(run_on, tmp_path):
    out = tmp_path / "out"
    assert main(["export", str(run_on("llama", "bfloat16")), str(out), "--dtype", "float16", "--untimed"]) == 0
    assert not [path for path in out.glob("*.json") if NAME in path.read_text()]
    assert json.loads((out / "config.json").read_text())["dtype"] == "float16"


@pytest.mark.slow
def test_a_perplexity_that_is_not_the_runs_marks_the_output_unfit(copy_of, tmp_path, capsys):
    run = copy_of(lambda result: result["perplexity"]["report"].update(evolved=1.5))
    assert main(["export", str(run), str(tmp_path / "out"), "--untimed"]) == 3
    assert "perplexity" in (tmp_path / "out" / "UNFIT.txt").read_text()
    assert not exported(tmp_path / "out")["fit"]
    assert "must not be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda r: r["best"].update(genome=[0.45]), "best.genome: expected 3 genes"),
        (lambda r: r["best"].update(genome=[0.45, 0.45, 7]), "genes that the problem allows"),
        (lambda r: r["best"].update(genome="x"), "best.genome"),
        (lambda r: r.pop("best"), "best: missing"),
        (lambda r: r.pop("perplexity"), "perplexity"),
        (lambda r: r["protocol"].update(weights_sha256="0"), "weights are not those"),
        (lambda r: r["protocol"]["report_text"].update(sha256="0"), "report text is not the one"),
    ],
)
def test_a_result_that_does_not_fit_is_refused_and_nothing_is_written(copy_of, tmp_path, capsys, change, fragment):
    run = copy_of(change)
    assert main(["export", str(run), str(tmp_path / "new" / "out")]) == 2
    assert fragment in capsys.readouterr().err
    assert not [path for path in (tmp_path / "new").glob("**/*") if path.name]


def test_a_folder_that_holds_anything_is_refused(run_on, tmp_path, capsys):
    (tmp_path / "mine.txt").touch()
    assert main(["export", str(run_on("gpt2")), str(tmp_path)]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_fails_half_way_leaves_nothing(run_on, tmp_path, monkeypatch):
    def fail(model, folder):
        (folder / "model.safetensors").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", fail)
    assert main(["export", str(run_on("gpt2")), str(tmp_path / "out")]) == 2
    assert not list(tmp_path.iterdir())


def test_only_the_own_name_of_a_local_model_is_published(tmp_path):
    assert public_name("owner/name") == "owner/name"
    assert public_name(str(tmp_path / "private" / "model")) == "model"


def test_an_export_is_in_the_dtype_of_its_source_timed_and_no_larger(run_on, tmp_path, capsys):
    """The run computes in float32."""
    home, source, out = run_on("gpt2").parent, tmp_path / "half", tmp_path / "out"
    AutoModelForCausalLM.from_pretrained(home / "model").half().save_pretrained(source)
    AutoTokenizer.from_pretrained(home / "model").save_pretrained(source)
    ask = ["--runs-dir", str(tmp_path), "--name", "run", "--set", f"problem.model={source}"]
    assert main(["run", str(home / "experiment.yaml"), *ask]) == 0
    capsys.readouterr()
    assert main(["export", str(tmp_path / "run"), str(out)]) == 0
    (told, steps), facts = capsys.readouterr(), exported(out)
    whole = (source / "model.safetensors").stat().st_size
    assert facts["dtype"] == json.loads((out / "config.json").read_text())["dtype"] == "float16"
    assert (facts["bytes"], facts["runtime"]["file_bytes"]["dense"]) == (pytest.approx(whole, rel=0.01), whole)
    assert f"bytes of weights in float16; the source has {whole:,}" in told
    for name in ("files: dense", "loading: dense", "prefill: dense", "decode: dense", "peak memory: dense"):
        assert f"\n{name}" in told
        assert f"- {name}" in (out / "README.md").read_text()
    found = facts["runtime"]
    for key in ("prefill", "decode", "peak_bytes", "load_seconds"):
        assert min(found[key]["dense"], found[key]["evolved"]) > 0
    assert found["length"] == 63  # the model has 64 positions
    assert [line.removesuffix(", in a process of its own") for line in steps.splitlines() if "measuring" in line] == [
        "measuring speed", "measuring memory of the dense model", "measuring memory of the smaller model",
    ]  # fmt: skip
