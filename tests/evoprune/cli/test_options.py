"""Commands take what the registered problems say that they may be told."""

import argparse
from importlib.metadata import EntryPoint

import pytest

from evoprune.cli import options as cli_options
from evoprune.experiment import registry

PLUGIN = """
from pydantic import Field
from evoprune import Measuring, Problem, Settings

class Options(Settings):
    deep_look: bool = Field(False, description="look into 100% of it")
    text: str = Field("x", description="what is read")
    depth: int = Field(3, description="a name that the command has")

class Other(Problem, Measuring):
    EvalOptions = Options
"""


@pytest.fixture
def parser(plugin, monkeypatch):
    plugin("other_problem", PLUGIN)
    registered = registry.names(registry.PROBLEMS) | {
        name: EntryPoint(name, value, registry.PROBLEMS)
        for name, value in {"other": "other_problem:Other", "broken": "no_such_module:Problem"}.items()
    }
    monkeypatch.setattr(registry, "names", lambda group: registered)
    made = argparse.ArgumentParser()
    made.add_argument("--depth")
    cli_options.add_declared(made, "EvalOptions")
    return made


def test_a_field_is_an_option_and_only_what_is_given_is_passed_on(parser):
    options = parser.parse_args(["--deep-look", "--text", "mine.txt", "--depth", "9"])
    assert options.depth == "9"
    assert cli_options.read_declared(options) == {"deep_look": True, "text": "mine.txt"}
    assert cli_options.read_declared(parser.parse_args([])) == {}
