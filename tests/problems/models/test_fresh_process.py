"""What a process of its own prints, and how its failure is told."""

import pytest

from problems.models.fresh_process import Failed, environment, run_python


def test_what_it_prints_is_read_wherever_it_runs(tmp_path):
    code = "import problems; print('{\"found\": 1}')"
    assert run_python("-c", code, cwd=tmp_path, env=environment()) == {"found": 1}


@pytest.mark.parametrize(
    ("code", "message"),
    [("raise ValueError('wrong')", "ValueError: wrong"), ("raise SystemExit(3)", "exit code 3")],
)
def test_a_failure_is_told_by_the_last_line_or_the_exit_code(code, message):
    with pytest.raises(Failed, match=f"^{message}$"):
        run_python("-c", code)
