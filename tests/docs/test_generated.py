"""The reference that is made from the code leaves nothing out, and each page is in the contents."""

import importlib.util
import re
from fnmatch import fnmatch

import pytest

from evoprune.cli.main import main
from evoprune.experiment import catalogue, parameters
from evoprune.experiment.spec import Experiment
from tests.docs.conftest import PAGES, ROOT


@pytest.fixture(scope="module")
def generated():
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_key_of_everything_registered_is_in_the_reference(generated):
    text = generated.experiment()
    sections = dict(re.findall(r"^#+ (.*)\n\n((?:(?!#).*\n?)*)", text, re.M))
    expected = {"The experiment": Experiment.model_fields}
    expected |= {f"{slot}: {e.name}": e.keys for slot in parameters.DATA_ARGUMENTS for e in catalogue.operators(slot)}
    expected |= {f"problem: {entry.name}": entry.keys for entry in catalogue.problems()}
    for problem in catalogue.problems():
        expected |= {f"problem.{key}: {e.name}": e.keys for key, entries in problem.chosen.items() for e in entries}
    for title, keys in expected.items():
        assert all(f"| `{key}` |" in sections[title] for key in keys)
    assert "| `sparsity` | number >= 0.0, <= 1.0 | `0.45` |" in sections["problem: pruning"]
    assert "| `window` | whole number >= 2 | `512` |" in sections["TextSettings"]


def test_every_command_is_in_the_reference(generated, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    for command in re.findall(r"^    (\w+) ", capsys.readouterr().out, re.M):
        assert f"## {command}\n\n```text\nusage: evoprune {command} " in generated.commands()


def test_every_page_is_in_the_contents():
    index = (ROOT / "docs" / "index.md").read_text()
    entries = [line for line in index.splitlines() if re.fullmatch(r"[\w/*\[\]-]+", line)]
    for page in PAGES:
        if page.is_relative_to(ROOT / "docs") and page.stem != "index":
            place = str(page.relative_to(ROOT / "docs").with_suffix(""))
            assert any(fnmatch(place, entry) for entry in entries), place
            assert place not in {"genindex", "py-modindex", "search"}, "Sphinx writes a page of this name itself"
