"""``prune`` of a model folder into a .gguf file, whose tokenizer another .gguf file of the model gives."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from evoprune.cli import main

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["--size=150kB", "--remove=25%"])
def test_a_base_makes_a_file_of_a_model_folder(byte_models, tmp_path, goal):
    model = Path(byte_models("llama")["model"])
    text = tmp_path / "all.txt"
    text.write_text("".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=6000)))
    told = [str(model), goal, "--text", str(text), "--time=20s", "--runs-dir", str(tmp_path), "--name=run"]
    out = tmp_path / "small.gguf"
    assert main(["prune", *told, "--base", str(model.parent / "base.gguf"), "--out", str(out)]) == 0
    facts = json.loads((tmp_path / "small.evoprune.json").read_text())
    assert facts["fit"]
    assert facts["bytes"] == out.stat().st_size < (model.parent / "base.gguf").stat().st_size
    assert not (tmp_path / "run" / "promised.json").exists()
