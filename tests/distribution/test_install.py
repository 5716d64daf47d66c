"""The wheel, from any folder; and the bare checkout, without any installed metadata."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


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


def evoprune(arguments, folder, path):
    """Run in ``folder`` with only ``path`` and the dependencies importable."""
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]; sys.path.insert(0, {str(path)!r});"
        f"from evoprune.cli import main; import evoprune; print(evoprune.__file__); sys.exit(main({arguments!r}))"
    )
    site = sysconfig.get_paths()["purelib"]
    environment = {"PYTHONPATH": site, "PATH": "/usr/bin:/bin", "EVOPRUNE_CACHE": os.environ["EVOPRUNE_CACHE"]}
    return subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_the_wheel_holds_experiments_weights_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "evoprune/problems/gpt2_mini.yaml" in names
    assert "evoprune/problems/bundled/weights/model.safetensors" in names
    assert "evoprune/operators/mutation/exchange.py" in names
    assert "evoprune/report/page.html" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"evoprune"}


@pytest.mark.parametrize("layout", ["wheel", "checkout"])
def test_runs_from_any_folder(layout, installed, tmp_path):
    home = installed if layout == "wheel" else ROOT
    arguments = ["run", "problems/rastrigin.yaml", "--runs-dir", "out", "--set", "generations=2"]
    done = evoprune(arguments, tmp_path, home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(home))
    assert list((tmp_path / "out").glob("rastrigin-*/result.json"))
