"""What killed exports leave behind is cleared by the next one of the same name."""

import os
import subprocess
import sys

from evoprune.exporting import export
from evoprune.parts import Exported


def test_parts_of_dead_processes_are_cleared(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f".out.{dead.pid}.part", f".out.{os.getppid()}.part", f".out2.{dead.pid}.part", ".out.x.part"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / names[0] / "half").write_text("a model")

    def write(folder):
        (folder / "whole").write_text("a model")
        return Exported({})

    export(tmp_path / "out", write, {}, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", *names[1:]])
    assert (tmp_path / "out" / "whole").exists()
