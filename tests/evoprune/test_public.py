"""The public names: a runnable example in each, and an import without models' packages."""

import doctest
import inspect
import subprocess
import sys

import pytest

import evoprune

PUBLIC = {name: getattr(evoprune, name) for name in evoprune.__all__}
DOCUMENTED = [name for name, one in PUBLIC.items() if inspect.isclass(one) or inspect.isfunction(one)]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_docstring_of_a_public_name_has_an_example_that_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (found,) = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name)
    assert found.examples
    assert doctest.DocTestRunner(verbose=False).run(found).failed == 0, capsys.readouterr().out


WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {"torch", "transformers", "datasets", "safetensors", "huggingface_hub"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from evoprune import Gene, Search, minimize

minimize(lambda g: g[0] ** 2, [Gene("x")], evaluations=40)
Search([Gene("x")]).ask()
assert not {"scipy", "scoop", "matplotlib"} & {*sys.modules}
"""


def test_the_engine_runs_without_packages_of_language_models():
    subprocess.run([sys.executable, "-c", WITHOUT], check=True)
