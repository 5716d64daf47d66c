"""The generated reference is complete; each page is in the contents, short enough, and its links lead somewhere."""

import importlib.util
import re
from fnmatch import fnmatch

import pytest

from evoprune.cli.main import main
from evoprune.experiment import catalogue, parameters
from evoprune.experiment.spec import Experiment
from tests.docs.conftest import PAGES, ROOT, blocks, name

_FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generated():
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_key_of_everything_registered_is_in_the_reference(generated):
    sections = dict(re.findall(r"^#+ (.*)\n\n((?:(?!#).*\n?)*)", generated.experiment(), re.M))
    expected = {"The experiment": Experiment.model_fields}
    expected |= {f"{slot}: {e.name}": e.keys for slot in parameters.DATA_ARGUMENTS for e in catalogue.operators(slot)}
    for problem in catalogue.problems():
        expected[f"problem: {problem.name}"] = problem.keys
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
    entries = re.findall(r"^[\w/*]+$", (ROOT / "docs" / "index.md").read_text(), re.M)
    places = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in PAGES if page.name != "README.md"}
    for place in places - {"index"}:
        assert any(fnmatch(place, entry) for entry in entries), place


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere_and_python_compiles(page):
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, name(page), "exec")
    for text, target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        assert text, f"({target}) shows nothing outside of the site"
        path = target.partition("#")[0]
        assert "://" in target or not path or (page.parent / path).exists(), target


def test_pages_stay_short():
    assert len((ROOT / "README.md").read_text().split()) < 900
    measurements = {page for page in PAGES if page.parent.name == "measurements"}
    assert sum(len(page.read_text().split()) for page in measurements) < 14_900
    assert sum(page.stat().st_size for page in {*PAGES} - measurements if page.name != "README.md") <= 106_500
