"""A package of somebody else's, installed as pip installs it: evoprune finds, runs and resumes what is in it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).with_name("stranger")
LINES = {"first_channels": 40, "channels": 20, "change": 20, "squares": 10, "swap": 10, "npz": 20}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that the package is installed in."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"  # building leaves files beside the sources
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder / "site")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    return folder / "site"


def evoprune(site, folder, *arguments):
    path = os.pathsep.join([str(site), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "evoprune", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("name", "most"), LINES.items())
def test_a_plugin_is_short(name, most):
    assert len((PACKAGE / "stranger" / f"{name}.py").read_text().splitlines()) <= most


@pytest.mark.parametrize("name", ["first_channels", "change"])
def test_it_is_found_run_and_resumed(site, tmp_path, name):
    done = evoprune(site, tmp_path, "run", str(PACKAGE / f"{name}.yaml"), "--runs-dir", "runs", "--name", "mine")
    assert done.returncode == 0, done.stderr
    before = _searched(tmp_path / "runs/mine/history.jsonl")
    more = str(1 + json.loads(before[-1])["generation"])
    resumed = evoprune(site, tmp_path, "resume", "runs/mine", "--set", f"generations={more}")
    assert resumed.returncode == 0, resumed.stderr
    after = _searched(tmp_path / "runs/mine/history.jsonl")
    assert after[: len(before)] == before
    assert len(after) > len(before)


def _searched(history):
    """The lines of a search, before its finals, which are held again when it is lengthened."""
    return [line for line in history.read_bytes().splitlines() if b'"finalist"' not in line]


def test_its_score_and_operator_search_and_its_format_writes(site, tmp_path):
    done = evoprune(site, tmp_path, "run", str(PACKAGE / "pruned.yaml"), "--runs-dir", "runs", "--name", "mine")
    assert done.returncode == 0, done.stderr
    written = evoprune(site, tmp_path, "export", "runs/mine", "mine.npz")
    assert written.returncode == 0, written.stderr
    assert (tmp_path / "mine.npz").stat().st_size > 1_000_000


def test_all_it_has_is_listed(site, tmp_path):
    listed = evoprune(site, tmp_path, "ls")
    assert [name for name in LINES if name not in listed.stdout] == []


@pytest.mark.slow
def test_its_transform_keeps_the_contract(site, tmp_path):
    script = (
        "import yaml, sys; from problems.language_model.problem import LanguageModel as L;"
        "from problems.testing import check_transform;"
        "given = yaml.safe_load(open(sys.argv[1]))['problem']; given.pop('use');"
        "check_transform(L(L.Settings(**given)).session, pairs=2)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, str(PACKAGE / "first_channels.yaml")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
