"""The law of the wings: without a wing's folder and entry points, everything else runs, and its users are told."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from evoprune.plugins import HOME

ROOT, WINGS = HOME.parent, "evoprune.problems.language_model"

RUN = """
import pkgutil, sys
from importlib import import_module
import evoprune.operators, evoprune.problems
from evoprune.cli import main

for package in (evoprune.operators, evoprune.problems):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(("check", "__main__", "llama", "quantiser")):
            import_module(module.name)
assert not any(name.startswith(f"evoprune.problems.language_model.{sys.argv[1]}") for name in sys.modules)
small = ["population=4", "generations=1", "problem.search_text.windows=1", "problem.report_text.windows=1"]
sets = [part for setting in small for part in ("--set", setting)]
codes = {"ls": main(["ls"]), "run": main(["run", "problems/gpt2_mini.yaml", "--name", "run", *sets])}
codes["prune"] = main(["prune", "bundled:gpt2-mini", "--remove=25%", "--time=2m", "--print-config"])
for name in sys.argv[2:]:
    print(f"validating {name}", file=sys.stderr)
    codes[name] = main(["validate", *name.split()])
print({name: code or 0 for name, code in codes.items()})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wing", "users"),
    [
        ("distillation", ["problems/gpt2_mini_recovered.yaml", "problems/smollm2_joint.yaml"]),
        ("experts", ["problems/moe_mini_experts.yaml"]),
        ("gguf", ["problems/gpt2_mini_gguf.yaml", "problems/gpt2_mini_blocks.yaml --set problem.model=a.gguf"]),
        ("vocabulary", ["problems/gpt2_mini_blocks.yaml --set problem.transforms=vocabulary"]),
    ],
)
def test_without_a_wing_everything_else_runs_and_its_users_are_told(wing, users, tmp_path):
    copy = tmp_path / "copy"
    for name in ("evoprune", "operators", "problems"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    shutil.rmtree(copy / "problems/language_model" / wing)
    without = re.sub(rf".* = {re.escape(WINGS)}\.{wing}\..*\n", "", (ROOT / "setup.cfg").read_text())
    (copy / "setup.cfg").write_text(without)
    parser = configparser.ConfigParser()
    parser.read_string(without)
    found = distribution("evoprune")
    metadata = copy / f"evoprune-{found.version}.dist-info"  # it comes first on the path
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: evoprune\nVersion: {found.version}\n")
    groups = parser["options.entry_points"].items()
    (metadata / "entry_points.txt").write_text("".join(f"[{group}]{lines}\n" for group, lines in groups))
    others = ["problems/rastrigin.yaml", "problems/gpt2_mini_blocks.yaml", "problems/gpt2_mini_best.yaml"]
    called = subprocess.run(
        [sys.executable, "-c", RUN, wing, *others, *users], cwd=copy, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": str(copy)},
    )  # fmt: skip
    assert called.returncode == 0, called.stderr
    expected = dict.fromkeys(["ls", "run", "prune", *others], 0) | dict.fromkeys(users, 2)
    assert called.stdout.splitlines()[-1] == str(expected)
    for user in users:
        said = called.stderr.partition(f"validating {user}")[2].strip().splitlines()[0]
        assert f"needs the wing {wing}" in said


def test_each_wing_is_a_folder():
    from evoprune.problems.language_model.models.wings import WINGS

    assert all(Path(ROOT, "problems/language_model", wing).is_dir() for wing in WINGS.values())
