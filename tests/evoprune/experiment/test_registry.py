"""Plugins are found by name; commands in a folder of the user's own find their modules, and hide none of ours."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from evoprune.console.errors import InputError
from evoprune.experiment import registry
from evoprune.experiment.parameters import DATA_ARGUMENTS
from evoprune.experiment.registry import HOME
from tests.runs import lines

SCRIPT = """
import sys
from evoprune.cli import main

if __name__ == "__main__":
    sys.exit(main())
"""
"""The installed script: the first folder of Python's path is its own, not the working directory."""

EXPERIMENT = "{plugins: [my_plugin], problem: 'my_plugin:Mine', population: 6, generations: 2}"

PLUGIN = """
from evoprune.problems.benchmark import Benchmark
from tests.runs import draw_nothing
import beside_the_plugin

draw_nothing()

class Mine(Benchmark):
    '''A test function of the user's.'''
"""


@pytest.fixture
def command(request, tmp_path):
    """Runs a command in a folder with a worker, as ``python -m evoprune`` or as the script ``evoprune`` does."""
    elsewhere = tmp_path / "bin"
    elsewhere.mkdir()
    (elsewhere / "script.py").write_text(SCRIPT)
    how = ["-m", "evoprune"] if request.param == "module" else [elsewhere / "script.py"]

    def call(*arguments, folder):
        return subprocess.run(
            [sys.executable, *map(str, [*how, *arguments]), "--map", "processes", "-n", "1"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(HOME.parent)},
            text=True,
            capture_output=True,
        )

    return call


@pytest.mark.parametrize(("command", "beside_the_file"), [("module", True), ("script", False)], indirect=["command"])
def test_a_users_module_is_found_in_workers_too_and_hides_none_of_ours(command, evoprune, tmp_path, beside_the_file):
    folder, elsewhere = tmp_path / "mine", tmp_path / "other"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "problems.py").write_text("raise RuntimeError('imported')")
    plugins = elsewhere if beside_the_file else folder
    (plugins / "my_plugin.py").write_text(PLUGIN)
    (plugins / "beside_the_plugin.py").touch()
    (elsewhere / "mine.yaml").write_text(EXPERIMENT)
    done = command("run", elsewhere / "mine.yaml", "--name", "run", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr
    assert not [line for line in lines(folder / "runs" / "run") if "failure" in line]
    run = folder / "runs" / "run"
    (plugins / "my_plugin.py").rename(run / "my_plugin.py")
    answer = evoprune("resume", run)  # which may be somebody else's
    assert answer.code == 2
    assert "plugins: cannot import 'my_plugin'" in answer.err


@pytest.mark.parametrize("code", ["1 / 0", "import sys; sys.exit(7)"])
def test_a_plugin_that_fails_or_exits_on_import_is_named(run, write, plugin, code):
    plugin("breaking_plugin", code)
    answer = run(write("{problem: benchmark, plugins: [breaking_plugin]}"))
    assert answer.code == 2
    assert "plugins: cannot import 'breaking_plugin'" in answer.err
    assert not answer.folder.exists()


def test_every_operator_of_ours_is_registered_under_its_own_name():
    shared = {"__init__", "breeding", "rounding"}
    files = {path.stem for path in (HOME / "operators").glob("*/*.py")} - shared
    assert files <= {name for slot in DATA_ARGUMENTS for name in registry.operators(slot)} | {"auto"}


@pytest.mark.parametrize("value", ["no_such_module:x", "evoprune:no_such_attribute"])
def test_a_half_installed_package_is_named(monkeypatch, value):
    found = {"mate.theirs": EntryPoint("mate.theirs", value, registry.OPERATORS)}
    monkeypatch.setattr(registry, "names", lambda group: found)
    with pytest.raises(InputError, match=rf"cannot import 'theirs' \({value}\)"):
        registry.operator("mate", "theirs")
