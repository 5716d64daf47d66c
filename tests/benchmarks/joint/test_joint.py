"""The comparison of joint searches, on few tokens."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from tests.benchmarks.joint.compare import main

QUICK = [
    *("--tokens", "1600", "--search-windows", "4", "16", "--report-windows", "2", "32", "--seeds", "0"),
    *("--types", "Q8_0", "Q4_0", "--step", "320"),
]


@pytest.mark.slow
def test_each_way_keeps_the_limit_and_what_is_known_is_not_measured_again(tmp_path, capsys):
    out = tmp_path / "joint.jsonl"
    command = [str(out), *QUICK, "--megabytes", "2.2", "--ways", "together: measured", "cuts of 25", "types"]
    main(command)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    found = {line["way"]: line for line in lines}
    assert len(found) == len(lines) == 6
    assert "kl" not in found["types alone"]  # out of reach
    scored = [line for line in lines if "kl" in line]
    assert all(line["bytes"] <= 2_200_000 and line["tokens"] <= 1600 for line in scored)
    assert len(scored) >= 3
    capsys.readouterr()
    main(command)
    assert out.read_text().count("\n") == len(lines)
    assert capsys.readouterr().out.startswith("2.2 MB")
