import pytest

from problems.models.processes import Failed, environment, run_python


def test_a_process_finds_evoprune_anywhere_and_its_json_is_read(tmp_path):
    code = "import problems; print('{\"found\": 1}')"
    assert run_python("-c", code, cwd=tmp_path, env=environment()) == {"found": 1}


@pytest.mark.parametrize(
    ("code", "message"), [("raise ValueError('x')", "ValueError: x"), ("raise SystemExit(3)", "exit code 3")]
)
def test_a_failure_is_told_by_the_last_line_or_the_exit_code(code, message):
    with pytest.raises(Failed, match=f"^{message}$"):
        run_python("-c", code)
