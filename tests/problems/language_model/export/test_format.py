"""A format of a stranger, as the interface describes it."""

import inspect
import textwrap

import numpy
import pytest
import torch

from evoprune import Exported
from evoprune.api import Run
from evoprune.problems.language_model.export import format as interface
from evoprune.problems.language_model.export.format import ExportFormat, public_name
from evoprune.problems.language_model.testing import check_format


@pytest.fixture
def npz():
    """The class in the docstring of the interface."""
    lines = inspect.getdoc(interface).split("calls::")[1].split("\nThe format")[0]
    found = {"ExportFormat": ExportFormat, "Exported": Exported, "numpy": numpy, "torch": torch}
    exec(textwrap.dedent(lines), found)
    return found["Npz"]


def test_the_format_in_the_docs_keeps_the_contract(npz, run_on, tmp_path):
    check_format(npz, Run.open(run_on("gpt2")), tmp_path / "small.npz")


def test_only_the_own_name_of_a_local_model_is_published(tmp_path):
    assert public_name("owner/name") == "owner/name"
    assert public_name(str(tmp_path / "private" / "model")) == "model"
