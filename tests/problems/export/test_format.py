"""A format of a stranger, as the interface describes it."""

import inspect
import textwrap

import numpy
import pytest
import torch

from evoprune import Exported
from evoprune.api import Run
from problems.export import ExportOptions
from problems.export import format as interface
from problems.export.format import ExportFormat, public_name, run_of
from problems.results.final_model import FinalModel


@pytest.fixture
def npz():
    """The class in the docstring of the interface."""
    lines = inspect.getdoc(interface).split("calls::")[1].split("\n:class:")[0]
    found = {"ExportFormat": ExportFormat, "Exported": Exported, "numpy": numpy, "torch": torch}
    exec(textwrap.dedent(lines), found)
    return found["Npz"]


def test_the_format_in_the_docs_writes_the_model_with_recovered_weights(npz, run_on, tmp_path):
    run = Run.open(run_on("gpt2"))
    session, genome = run.problem.session, run.best.genome
    name = "transformer.h.1.ln_1.weight"
    recovered = {name: torch.full_like(session.resident.model.get_parameter(name), 7.0)}
    final = FinalModel(session, genome, recovered)
    exported = npz(final, ExportOptions()).write(run_of(final, run.result), tmp_path / "small.npz")
    assert not exported.faults
    assert exported.facts["bytes"] == (tmp_path / "small.npz").stat().st_size
    with numpy.load(tmp_path / "small.npz") as written:
        assert (written[name] == 7).all()
        zeros = sum(int((written[f"{matrix.name}.weight"] == 0).sum()) for matrix in session.resident.matrices)
    assert zeros / session.resident.prunable_weights == pytest.approx(exported.facts["sparsity"]["prunable"])
    assert exported.facts["sparsity"]["prunable"] == pytest.approx(run.result.sparsity.prunable)


def test_only_the_own_name_of_a_local_model_is_published(tmp_path):
    assert public_name("owner/name") == "owner/name"
    assert public_name(str(tmp_path / "private" / "model")) == "model"
