"""Commands in a folder of the user's own: their modules are found, and hide none of ours."""

import os
import subprocess
import sys

import pytest

from evoprune.experiment.modules import HOME
from tests.runs import lines

SCRIPT = """
import sys
from evoprune.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""
"""The installed script: the first folder of Python's path is its own, not the working directory."""

WORKERS = ["-n", "2"]
"""The main process imports what one without workers does."""

EXPERIMENT = (
    "{{plugins: [{module}], problem: '{module}:Mine', population: 6, generations: 2, operators: {{mate: uniform}}}}"
)

PLUGIN = """
from problems.benchmark import Benchmark
import beside_the_plugin

class Mine(Benchmark):
    '''A test function of the user's.'''
"""


@pytest.fixture(params=["module", "script"])
def command(request, tmp_path):
    """Runs a command in a folder as ``python -m evoprune`` or as the script ``evoprune`` does."""
    elsewhere = tmp_path / "bin"
    elsewhere.mkdir()
    (elsewhere / "script.py").write_text(SCRIPT)
    how = ["-m", "evoprune"] if request.param == "module" else [elsewhere / "script.py"]

    def call(*arguments, folder):
        return subprocess.run(
            [sys.executable, *map(str, [*how, *arguments])],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(HOME)},
            text=True,
            capture_output=True,
        )

    return call


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mine"
    made.mkdir()
    return made


def occupy(folder, how):
    """Give ``folder`` something that is called like our packages."""
    for name in ("operators", "problems"):
        if how == "modules":
            (folder / f"{name}.py").write_text("raise RuntimeError('imported')")
        else:
            (folder / name).mkdir()
        if how == "packages":
            (folder / name / "__init__.py").write_text("raise RuntimeError('imported')")


@pytest.mark.parametrize("how", ["modules", "folders", "packages"])
def test_what_is_called_like_our_packages_hides_none_of_them(command, folder, how):
    occupy(folder, how)
    settings = ["--set", "generations=2", "--set", "population=6"]
    done = command("run", "problems/rastrigin.yaml", *settings, "--name", "run", *WORKERS, folder=folder)
    assert done.returncode == 0, done.stderr
    assert len(lines(folder / "runs" / "run")) > 6


@pytest.mark.parametrize("where", ["working directory", "beside the file"])
@pytest.mark.parametrize("module", ["my_plugin", "problems"])
def test_a_users_module_is_found_in_workers_too(command, folder, tmp_path, where, module):
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    plugins = folder if where == "working directory" else elsewhere
    text = PLUGIN if module == "my_plugin" else PLUGIN.replace("import beside_the_plugin", "")
    (plugins / f"{module}.py").write_text(text)
    (plugins / "beside_the_plugin.py").touch()
    (elsewhere / "mine.yaml").write_text(EXPERIMENT.format(module=module))
    done = command("run", elsewhere / "mine.yaml", "--name", "run", *WORKERS, folder=folder)
    assert done.returncode == 0, done.stderr
    assert not [line for line in lines(folder / "runs" / "run") if "failure" in line]


def test_a_module_in_a_users_folder_that_is_called_like_ours_is_found(command, folder):
    (folder / "problems").mkdir()
    (folder / "problems" / "mine.py").write_text("from .shared import Mine")
    (folder / "problems" / "shared.py").write_text(PLUGIN.replace("import beside_the_plugin", ""))
    (folder / "mine.yaml").write_text(EXPERIMENT.format(module="problems.mine"))
    done = command("run", "mine.yaml", "--name", "run", folder=folder)
    assert done.returncode == 0, done.stderr


def test_a_module_beside_a_runs_config_is_not_imported(command, folder, tmp_path):
    (folder / "my_plugin.py").write_text(PLUGIN.replace("import beside_the_plugin", ""))
    (folder / "mine.yaml").write_text(EXPERIMENT.format(module="my_plugin"))
    assert command("run", "mine.yaml", "--name", "run", folder=folder).returncode == 0
    run = folder / "runs" / "run"
    (folder / "my_plugin.py").rename(run / "my_plugin.py")
    done = command("resume", run, folder=tmp_path)
    assert done.returncode == 2
    assert "plugins: cannot import 'my_plugin'" in done.stderr
