"""The scripts and options of docs/clusters.md."""

import importlib
import subprocess

import pytest

from tests.docs.conftest import ROOT, blocks, commands

PAGE = ROOT / "docs" / "clusters.md"


def test_the_shell_can_read_the_scripts():
    for block in blocks(PAGE):
        if block.language == "bash":
            done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
            assert done.returncode == 0, done.stderr


def test_dask_knows_the_options():
    cli = pytest.importorskip("distributed.cli")
    found = [words[3:] for words in commands(PAGE) if words[:3] == ["python", "-m", "dask"]]
    assert found
    for command, *arguments in found:
        assert importlib.import_module(f"{cli.__name__}.dask_{command}").main.make_context("", arguments)
