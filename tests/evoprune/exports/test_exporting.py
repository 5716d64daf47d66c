"""An export is there with all that is said of it, or not at all; what killed ones leave behind is cleared."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evoprune import Exported, InputError, Stopped
from evoprune.exports.exporting import existing_export, export, sidecar


def writing(faults=()):
    def write(place):
        sidecar(place, "README.md").write_text("a card")
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


def test_files_of_this_machine_are_named_without_their_folders(tmp_path):
    here = {"a": str(tmp_path / "one" / "all.txt"), "b": [str(tmp_path / "two" / "all.txt")], "c": "owner/name"}
    experiment = {"problem": here | {"d": str(tmp_path / "model")}}
    export(tmp_path / "out", lambda _: Exported(here), {}, experiment)
    told = json.loads((tmp_path / "out" / "evoprune.json").read_text())
    repeated = yaml.safe_load((tmp_path / "out" / "experiment.yaml").read_text())["problem"]
    named = {"a": "./one/all.txt", "b": ["./two/all.txt"], "c": "owner/name"}
    assert named.items() <= told.items()
    assert repeated == named | {"d": "./model"}


@pytest.mark.parametrize("taken", ["small.bin", "small.UNFIT.txt"])
def test_nothing_is_overwritten(tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export(tmp_path / "small.bin", writing(), {}, None, is_file=True)
    assert names(tmp_path) == {taken}
    assert (tmp_path / taken).read_text() == "mine"


def test_only_the_same_result_is_exported_over_files_about_it(tmp_path):
    out, mine = tmp_path / "small.bin", {"seed": 3}
    export(out, writing(), mine, {"problem": {}}, is_file=True)
    assert existing_export(out, mine, is_file=True).facts["size"] == 6
    assert not existing_export(out, {"seed": 4}, is_file=True)
    out.unlink()  # as if a kill had come before it
    assert not existing_export(out, mine, is_file=True)
    for others in ({"seed": 4}, {}):
        with pytest.raises(InputError, match="exists already"):
            export(out, writing(), others, {"problem": {}}, is_file=True)
    with pytest.raises(Stopped, match="too bad"):
        export(out, writing(["too bad"]), mine, {"problem": {}}, is_file=True)
    with pytest.raises(Stopped, match="too bad"):
        existing_export(out, mine, is_file=True)


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
    gone = [f".out.{dead.pid}.part", f".out.{os.getpid()}.part"]  # our own number may be that of a killed one, too
    kept = [f".out.{os.getppid()}.part", f".out2.{dead.pid}.part", ".out.x.part"]
    for name in [*gone, *kept]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("a model")

    export(tmp_path / "out", lambda folder: Exported({}), {}, None)
    assert names(tmp_path) == {"out", *kept}
    assert names(tmp_path / "out") == {"evoprune.json"}
