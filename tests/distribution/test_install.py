"""The wheel, from any folder; and the bare checkout, without any installed metadata."""

import os
import re
import subprocess
import sys
import sysconfig
import zipfile

import pytest

import evoprune as package
from tests.docs.conftest import PAGES, ROOT, commands


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel unpacked as pip lays it out, in a folder that stands before the checkout's own."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def evoprune(runs, folder, path):
    """Run the arguments of each of ``runs`` in ``folder`` with only ``path`` and the dependencies importable."""
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]; sys.path.insert(0, {str(path)!r});"
        "from evoprune.cli import main; import evoprune; print(evoprune.__file__);"
        f"sys.exit(max(main(arguments) for arguments in {runs!r}))"
    )
    site = sysconfig.get_paths()["purelib"]
    environment = {"PYTHONPATH": site, "PATH": "/usr/bin:/bin", "EVOPRUNE_CACHE": os.environ["EVOPRUNE_CACHE"]}
    return subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_the_wheel_holds_experiments_weights_and_no_tests_and_the_version_is_the_same_everywhere(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "evoprune/problems/gpt2_mini.yaml" in names
    assert "evoprune/problems/language_model/bundled/weights/model.safetensors" in names
    assert "evoprune/operators/mutation/exchange.py" in names
    assert "evoprune/report/page.html" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"evoprune"}
    version = package.__version__
    assert wheel.name.split("-")[1] == version
    assert re.search(r"^## (\S+), \d{4}-", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


RUN = ["run", "problems/rastrigin.yaml", "--name", "run", "--set", "generations=2"]


def test_the_checkout_runs_from_any_folder(tmp_path):
    done = evoprune([RUN], tmp_path, ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(ROOT))
    assert (tmp_path / "runs" / "run" / "result.json").is_file()


@pytest.mark.slow
def test_the_wheel_runs_from_any_folder_and_has_the_commands_of_the_first_page(installed, tmp_path):
    """All but those on a run; of those that download a model, or search, what is printed first."""
    text = tmp_path / "all.txt"
    text.write_text("".join(page.read_text() for page in PAGES))
    runs = [RUN]
    for _, _, *words in commands(ROOT / "README.md"):
        match words:
            case ["evoprune", "prune", _, *options]:
                options[1] = {"--size": "2.8MB"}.get(options[0], options[1])
                runs.append(["prune", "bundled:gpt2-mini", *options, "--print-config", "--quick", "-q"])
            case ["evoprune", "run", file]:
                runs.append(["run", file, "--print-config"])
    assert {words[0] for words in runs} == {"prune", "run"}
    done = evoprune(runs, tmp_path, installed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
    assert {*tmp_path.iterdir()} == {text, tmp_path / "runs"}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]
    assert done.stdout.count("\nproblem:") == sum("--print-config" in words for words in runs)
