"""A package of somebody else's, installed as pip installs it: evoprune finds, runs and resumes what is in it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evoprune import minimize
from evoprune.cli import main
from evoprune.experiment import registry
from evoprune.problems.language_model.problem import LanguageModel
from evoprune.problems.language_model.testing import check_transform
from evoprune.testing import check_space

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).with_name("stranger")
LINES = {
    "first_channels": 40, "channels": 20, "change": 20, "squares": 10, "swap": 10, "npz": 20, "depth": 20, "teams": 50,
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that the package is installed in."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"  # building leaves files beside the sources
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder / "site")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    return folder / "site"


@pytest.fixture
def installed(site, tmp_path, monkeypatch):
    """This process can import the package, as if it had been installed before; it works in ``tmp_path``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(site)
    registry.installed.cache_clear()
    yield
    registry.installed.cache_clear()


def run(name):
    assert main(["run", str(PACKAGE / f"{name}.yaml"), "--runs-dir", "runs", "--name", "mine"]) == 0
    return Path("runs/mine")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", ["first_channels", "change", "teams"])
def test_it_is_found_run_and_resumed(name):
    before = searched(run(name))
    more = str(1 + json.loads(before[-1])["generation"])
    assert main(["resume", "runs/mine", "--set", f"generations={more}"]) == 0
    after = searched(Path("runs/mine"))
    assert after[: len(before)] == before
    assert len(after) > len(before)


def searched(folder):
    """The lines of a search, before its finals, which are held again when it is lengthened."""
    return [line for line in (folder / "history.jsonl").read_bytes().splitlines() if b'"finalist"' not in line]


@pytest.mark.usefixtures("installed")
def test_its_score_and_operator_search_and_its_format_writes():
    assert main(["export", str(run("pruned")), "mine.npz"]) == 0
    assert Path("mine.npz").stat().st_size > 1_000_000


@pytest.mark.usefixtures("installed")
def test_its_space_keeps_the_laws_and_the_best_team_is_found():
    from stranger.teams import Teams, cost

    check_space(Teams(12, 4))
    assert sorted(minimize(cost, Teams(12, 4), evaluations=300).genome) in ([3, 4, 5, 6], [4, 5, 6, 7])


@pytest.mark.usefixtures("installed")
def test_its_goal_plans_an_experiment(capsys):
    assert main(["prune", "bundled:gpt2-mini", "--depth=25%", "--print-config"]) == 0
    problem = yaml.safe_load(capsys.readouterr().out)["problem"]
    assert problem["budget"] == {"use": "parameters", "removed": 0.25}
    assert problem["transforms"] == [{"use": "sublayers", "genes": "block"}]
    assert main(["prune", "bundled:gpt2-mini", "--depth=150%"]) == 2


@pytest.mark.usefixtures("installed")
def test_its_transform_keeps_the_contract():
    given = yaml.safe_load((PACKAGE / "first_channels.yaml").read_text())["problem"]
    del given["use"]
    check_transform(LanguageModel(LanguageModel.Settings(**given)).session, pairs=2)


def test_all_it_has_is_short_and_listed_in_a_fresh_process(site, tmp_path):
    path = os.pathsep.join([str(site), str(ROOT)])
    command = [sys.executable, "-m", "evoprune", "ls"]
    listed = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    for name, most in LINES.items():
        assert len((PACKAGE / "stranger" / f"{name}.py").read_text().splitlines()) <= most
        assert name in listed.stdout, listed.stderr
