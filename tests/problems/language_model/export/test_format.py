"""A format of a stranger, as the interface describes it."""

import inspect
import textwrap
from types import SimpleNamespace

import numpy
import pytest
import torch

from evoprune import Exported, InputError
from evoprune.api import Run
from evoprune.experiment import registry
from evoprune.problems.language_model.export import format as interface
from evoprune.problems.language_model.export.format import ExportFormat, export_options, format_of, public_name
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


@pytest.fixture
def named(monkeypatch):
    """Registers formats by suffix for a while."""

    def call(**formats):
        entries = registry.installed()
        changed = {name: SimpleNamespace(load=load, value=name) for name, load in formats.items()}
        monkeypatch.setitem(entries, "evoprune.export_formats", entries["evoprune.export_formats"] | changed)

    return call


def test_the_format_of_facts_is_that_of_their_files(npz, named):
    named(npz=lambda: npz)
    assert format_of({"sha256": {"small.npz": "abc"}}) is npz
    for others in ({"sha256": {"model.safetensors": "abc"}}, {"sha256": None}, {}):
        assert format_of(others) is ExportFormat


def test_a_format_adds_its_options_which_others_refuse(npz, named):
    class Options(npz.Options):
        packed: bool = False

    class Packed(npz):
        pass

    Packed.Options = Options
    named(npz=lambda: npz, packed=lambda: Packed, broken=lambda: 1 / 0)  # one that cannot be imported adds nothing
    given = export_options()(packed=True)
    Packed(None, given).check()
    with pytest.raises(InputError, match=r"--packed: .*OUT\.packed"):
        npz(None, given).check()
