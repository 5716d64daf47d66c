import errno
import os
import subprocess
import sys

import pytest

from evoprune import __version__
from evoprune.cli import main


@pytest.mark.parametrize("arguments", [["run", "\udcff"], ["\udcff"]], ids=ascii)
def test_an_argument_that_is_not_utf_8_is_refused(arguments, capsys):
    assert main(arguments) == 2
    assert "UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hinted"),
    [
        (["run"], False),
        (["run", "x.yaml", "--sparsity", "0.5"], True),
        (["ablate", "x.yaml", "--budget", "9", "--vary", "a=1,2", "b=2"], True),
        (["report", "runs/a", "--seed", "1"], False),
    ],
)
def test_an_unknown_argument_is_one_line_that_names_the_help_of_its_command(arguments, hinted, capsys):
    assert main(arguments) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert f"evoprune {arguments[0]} --help" in error
    assert ("--set KEY=VALUE, as in" in error) == hinted


@pytest.mark.parametrize("arguments", [[], ["--version"], ["--help"], ["run", "--help"], ["help", "run"]], ids=" ".join)
def test_help_and_version_exit(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == (0 if arguments else 2)
    told = "".join(capsys.readouterr())
    expected = {"--version": __version__, "--help": "evoprune prune ", "": "evoprune prune "}
    assert expected.get(" ".join(arguments), "evoprune run ") in told


# The pipe's reader leaves at once, as `| head` does.
def test_a_reader_that_leaves_is_no_error():
    process = subprocess.Popen([sys.executable, "-m", "evoprune", "ls"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    errors = process.stderr.read()
    assert (process.wait(timeout=60), errors) == (0, b"")


HEAVY = {"torch", "transformers", "datasets"}
FEW = ("--set", "population=4", "--set", "generations=1", "--name", "run")
LIGHT = [["ls"], ["validate", "problems/gpt2_mini.yaml"], ["run", "problems/rastrigin.yaml", *FEW]]
MISTAKES = [
    ["eval", "nothing.gguf"],
    ["eval", "bundled:gpt2-mini", "--text", "nothing.txt"],
    ["baselines", "nothing", "--out", "front"],
    ["ablate", "nothing.yaml", "--vary", "a=1,2", "--budget", "1"],
]


@pytest.mark.parametrize(("commands", "code", "heavy"), [(LIGHT, 0, HEAVY), (MISTAKES, 2, HEAVY | {"scipy"})])
def test_what_needs_no_model_imports_no_torch(tmp_path, commands, code, heavy):
    script = (
        "import sys; from evoprune.cli import main;"
        f"print({{main(each) for each in {commands}}}, {heavy} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == f"{{{code}}} set()"


def test_quiet_leaves_the_result_and_errors(evoprune, sphere, tmp_path):
    told = evoprune("run", sphere, "--runs-dir", tmp_path / "runs", "--name", "a")
    quiet = evoprune("run", sphere, "--runs-dir", tmp_path / "runs", "--name", "b", "--quiet")
    assert told.err
    assert (quiet.code, quiet.err) == (0, "")
    assert quiet.out.splitlines()[0] == told.out.splitlines()[0]
    refused = evoprune("run", tmp_path / "nothing.yaml", "-q")
    assert refused.code == 2
    assert "no such file" in refused.err


def test_a_full_disk_stops_any_command(evoprune, run, sphere, monkeypatch):
    folder = run(sphere).folder

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("evoprune.report.page.write_text", full)
    answer = evoprune("report", folder)
    assert answer.code == 3
    assert os.strerror(errno.ENOSPC) in answer.err
