"""The notebook does what it says, and is kept without outputs."""

import json

import pytest

from tests.docs.conftest import ROOT

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


def test_no_output_is_kept():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert not [cell for cell in cells if cell["outputs"] or cell["execution_count"]]


@pytest.mark.slow
def test_every_cell_runs_and_a_run_is_shown_as_a_table(smaller, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(smaller)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert "perplexity on the report text" in shown[0]["data"]["text/html"]
    assert [output for output in shown if "image/svg+xml" in output["data"]]
    assert (smaller / "pruned" / "model.safetensors").is_file()
