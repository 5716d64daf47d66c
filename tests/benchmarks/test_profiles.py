"""The shape of a profile, where it is known; and the script on real runs."""

import json

import numpy
import pytest

from tests.benchmarks.profiles import Trace, main, measures


def test_an_inverted_u_is_one_and_its_copy_agrees():
    u = (0.6 - 0.01 * (numpy.arange(12) - 5.5) ** 2).tolist()
    flat_then_u = Trace("a", [1.0, 4.0], [[0.45] * 12, u])
    one, other = measures([flat_then_u, Trace("b", [1.0], [u])])
    assert one["parabola"] == pytest.approx(1)
    assert one["bend"] == -1
    assert one["agreement"] == other["agreement"] == pytest.approx(1)
    steps = numpy.abs(numpy.diff(u)).mean()
    assert one["roughness"] == pytest.approx([0, 0, 0, 0, steps], abs=1e-4)


def test_a_saw_is_no_parabola():
    (saw,) = measures([Trace("saw", [1.0], [[0.3, 0.6] * 6])])
    assert saw["parabola"] < 0.05
    assert saw["agreement"] is None


def test_runs_are_measured_and_drawn(tmp_path, capsys):
    for seed in (0, 1):
        lines = [
            {"genome": [0.4, 0.45, 0.5], "fitness": [9.0], "work": 1.0},
            {"genome": [0.3, 0.6, 0.45], "fitness": [8.0 + 2 * seed], "work": 1.0},
            {"genome": [0.9] * 3, "fitness": [1.0], "work": 0.5, "fidelity": 0.5},
        ]
        for number, line in enumerate(lines):
            line |= {"candidate": number, "generation": 0, "parents": [], "memo": False, "seconds": 1.0}
        (tmp_path / f"{seed}").mkdir()
        (tmp_path / f"{seed}" / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    main([f"search={tmp_path / '0'},{tmp_path / '1'}", "--out", str(tmp_path)])
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["roughness"][-1] == pytest.approx(0.225)
    assert second["roughness"][-1] == pytest.approx(0.05)  # 10 is no better than 9
    assert (tmp_path / "profiles.png").stat().st_size > 0
