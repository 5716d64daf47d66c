"""An export is there with all that is said of it, or not at all; what killed ones leave behind is cleared."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evoprune import Exported, InputError, Stopped
from evoprune.exports.exporting import about, export, is_one_file
from evoprune.interfaces.export import Exporting


def writing(faults=()):
    def write(place):
        about(place, "README.md").write_text("a card")
        place.write_text("a file")
        return Exported({"size": 6}, faults=faults)

    return write


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_what_is_said_of_a_file_lies_beside_it(tmp_path):
    (tmp_path / "mine.txt").touch()
    export(tmp_path / "new" / "small.bin", writing(), {"seed": 3}, {"problem": {}}, is_file=True)
    assert names(tmp_path / "new") == {
        "small.bin", "small.README.md", "small.evoprune.json", "small.experiment.yaml",
    }  # fmt: skip
    assert names(tmp_path) == {"mine.txt", "new"}
    facts = json.loads((tmp_path / "new" / "small.evoprune.json").read_text())
    assert facts == {"fit": True, "faults": [], "seed": 3, "size": 6}


def test_a_file_with_faults_is_marked(tmp_path):
    with pytest.raises(Stopped, match=r"small\.UNFIT\.txt"):
        export(tmp_path / "small.bin", writing(["too bad"]), {}, None, is_file=True)
    assert "too bad" in (tmp_path / "small.UNFIT.txt").read_text()
    assert not json.loads((tmp_path / "small.evoprune.json").read_text())["fit"]


@pytest.mark.parametrize("taken", ["small.bin", "small.UNFIT.txt"])
def test_nothing_is_overwritten(tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export(tmp_path / "small.bin", writing(), {}, None, is_file=True)
    assert names(tmp_path) == {taken}
    assert (tmp_path / taken).read_text() == "mine"


unwritten = pytest.fail  # if it is called


@pytest.mark.parametrize("is_file", [False, True])
@pytest.mark.parametrize("target", ["nowhere", "empty"])
def test_a_link_is_refused_before_the_work(tmp_path, target, is_file):
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match="out: exists already"):
        export(tmp_path / "out", unwritten, {}, None, is_file)


@pytest.mark.parametrize(
    ("out", "is_file"),
    [
        *(("/", False), (".", False), ("..", False), ("/dev/null/out", False)),
        ("new/" + 250 * "x", False),
        ("new/" + 235 * "x", True),  # the card's name is longer
    ],
)
def test_a_place_that_cannot_be_made_is_refused_before_the_work(out, is_file, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError):
        export(Path(out), unwritten, {}, None, is_file)
    assert [*tmp_path.rglob("*")] == [tmp_path / "here"]


@pytest.mark.parametrize(("name", "is_file"), [("a.txt", True), ("a", False), ("model-0.5", False), ("a.txt.d", None)])
def test_a_suffix_that_no_export_has_is_refused(name, is_file):
    class Written(Exporting):
        file_suffixes = classmethod(lambda cls: [".txt"])

    if is_file is None:
        with pytest.raises(InputError, match=r"\.txt"):
            is_one_file(Written, Path(name))
    else:
        assert is_one_file(Written, Path(name)) == is_file


def test_a_full_disk_stops_the_export_and_leaves_nothing(tmp_path, monkeypatch):
    replace = Path.replace

    def fail(path, target):
        if path.name == "small.bin":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(Stopped, match="No space left on device"):
        export(tmp_path / "small.bin", writing(), {}, None, is_file=True)
    assert names(tmp_path) == set()


def test_parts_of_dead_processes_are_cleared(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f".out.{dead.pid}.part", f".out.{os.getppid()}.part", f".out2.{dead.pid}.part", ".out.x.part"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / names[0] / "half").write_text("a model")

    export(tmp_path / "out", lambda folder: Exported({}), {}, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", *names[1:]])
