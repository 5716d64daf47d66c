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


def test_a_minimum_needs_no_package_of_language_models():
    call = "from evoprune import Gene, minimize; minimize(lambda g: g[0] ** 2, [Gene('x')], evaluations=40); import sys"
    answer = subprocess.run(
        [sys.executable, "-c", f"{call}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert not {"torch", "transformers", "datasets", "scipy", "matplotlib", "scoop"} & {*answer.stdout.split()}
