"""The comparison of joint searches, on few tokens."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from tests.benchmarks.joint.compare import main

BLOCKS = "{use: sublayers, genes: block}"
WIDTH = "{use: channels, genes: model, step: 320, drop: false, score: structured_obs, compensate: true}"

QUICK = [
    "problems/gpt2_mini_joint.yaml",
    *("--tokens", "1600", "--seeds", "0", "--first-cut", "0.25", "0.375", "--first-types", "2.75", "3.0"),
    *("--set", "problem.search_text={source: 'bundled:python-docs', split: validation, window: 16, windows: 4}"),
    *("--set", "problem.report_text={source: 'bundled:python-docs', split: test, window: 32, windows: 2}"),
    *("--set", f"problem.transforms=[{BLOCKS}, {WIDTH}, {{use: types, types: [Q8_0, Q4_0]}}]"),
    *("--set", "problem.held_out_windows=0"),
]


@pytest.mark.slow
def test_each_way_keeps_the_limit_and_what_is_known_is_not_measured_again(tmp_path, capsys):
    out = tmp_path / "joint.jsonl"
    command = [str(out), *QUICK, "--megabytes", "2.2", "--ways", "together: measured", "cuts of 25", "types"]
    main(command)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    found = {line["way"]: line for line in lines}
    assert len(found) == len(lines) == 5
    assert "kl" not in found["types alone"]  # out of reach
    scored = [line for line in lines if "kl" in line]
    assert all(line["bytes"] <= 2_200_000 and line["tokens"] <= 1600 for line in scored)
    assert len(scored) >= 3
    capsys.readouterr()
    main(command)
    assert out.read_text().count("\n") == len(lines)
    assert capsys.readouterr().out.startswith("2.2 MB")
