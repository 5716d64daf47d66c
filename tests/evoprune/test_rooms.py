"""The order of the code: imports between files and between folders go one way; plugins use the public face."""

import ast
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FACE = {"evoprune", "evoprune.plugins", "evoprune.testing"}


@cache
def imports():
    """The imported files of each file of the product; those inside functions and for type checking count, too."""
    paths = {path.relative_to(ROOT) for top in ("evoprune", "operators", "problems") for path in files(ROOT / top)}
    modules = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    return {path: {modules[name] for name in imported(path) if name in modules} - {path} for path in paths}


def files(top):
    return (path for path in top.rglob("*.py") if not any(parent.is_symlink() for parent in path.parents))


@cache
def imported(path):
    """The modules, and names in modules, that a file imports; without the links in ``evoprune``."""
    names = []
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return [name.replace("evoprune.problems", "problems").replace("evoprune.operators", "operators") for name in names]


def room(path):
    """The folder of a file: of the engine or ``operators``, of a problem, or below it."""
    return "/".join(path.parts[:-1][: {"problems": 3, "evoprune": 2}.get(path.parts[0], 1)])


def circle(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize("top", ["evoprune", "operators", "problems"])
def test_imports_of_files_and_of_folders_go_one_way(top):
    known = {path: found for path, found in imports().items() if path.parts[0] == top}
    assert not circle(known)
    rooms = defaultdict(set)
    for path, found in known.items():
        rooms[room(path)] |= {room(other) for other in found} - {room(path)}
    assert not circle(rooms)


def test_the_engine_imports_no_plugin():
    engine = {path: found for path, found in imports().items() if path.parts[0] == "evoprune"}
    assert not [(path, other) for path, found in engine.items() for other in found if other.parts[0] != "evoprune"]


def test_plugins_import_only_the_public_face_of_the_engine():
    faces = {path for path in imports() if ".".join(path.with_suffix("").parts).removesuffix(".__init__") in FACE}
    plugins = {path: found for path, found in imports().items() if path.parts[0] != "evoprune"}
    assert not [
        (path, other) for path, found in plugins.items() for other in found - faces if other.parts[0] == "evoprune"
    ]
