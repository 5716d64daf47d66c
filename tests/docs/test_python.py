"""The pages on Python and on plugins, and the notebook, are executed."""

import importlib
import json
import os
import subprocess
import sys
from itertools import product
from types import ModuleType

import pytest

from evoprune.api import run
from evoprune.experiment import config
from evoprune.experiment.resolve import resolve
from evoprune.testing import check_operator
from tests.docs.conftest import ROOT, blocks

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


@pytest.mark.slow
@pytest.mark.usefixtures("search_figures")
def test_the_page_on_python_does_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks(ROOT / "docs" / "python.md"):
        if not block.text.startswith("# "):
            exec(block.text, namespace)
    assert (tmp_path / "runs" / "notebook" / "result.json").is_file()


@pytest.mark.slow
def test_the_script_on_the_page_runs_with_workers_and_goes_on_from_its_folder(tmp_path):
    (text,) = (block.text for block in blocks(ROOT / "docs" / "python.md") if block.text.startswith("# "))
    script = tmp_path / text.split()[1]
    script.write_text(text)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for _ in range(2):
        done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "Minimum(x0=" in done.stdout
    assert "generation 0" not in done.stderr


def test_the_page_on_extending_defines_what_its_experiments_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = blocks(ROOT / "docs" / "extending.md")
    for block in found:
        if block.language == "python":
            (tmp_path / block.text.split("\n", 1)[0].removeprefix("# ")).write_text(block.text)
    experiments = [block.text for block in found if block.language == "yaml"]
    assert len(experiments) > 1
    for number, text in enumerate(experiments):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text if "problem:" in text else text + "problem: benchmark\n")
        resolve(config.read(path), str(path))
    importlib.import_module("my_prices")
    check_operator("mutate", importlib.import_module("my_operators").swap)
    (coins,) = (tmp_path / f"{number}.yaml" for number, text in enumerate(experiments) if "Coins" in text)
    found = run(coins, name="coins")
    every = map(found.problem.evaluate, product(range(10), repeat=3))
    assert found.best.violation == 0
    assert found.best.fitness[0] == min(score.values[0] for score in every if not score.violation)


def test_the_notebook_keeps_no_output():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert not [cell for cell in cells if cell["outputs"] or cell["execution_count"]]


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs(tmp_path, monkeypatch):
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    one = shell.instance(user_module=ModuleType("notebook"), config=Config({"HistoryManager": {"enabled": False}}))
    try:
        with one.display_trap, capture_output() as shown:
            for cell in cells:
                one.run_cell("".join(cell["source"])).raise_error()
    finally:
        shell.clear_instance()
    assert [output for output in shown.outputs if "image/svg+xml" in output.data]
    assert (tmp_path / "pruned" / "model.safetensors").is_file()
    assert not (tmp_path / "pruned" / "UNFIT.txt").exists()
