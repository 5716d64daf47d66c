"""The script for a shell knows the commands, their options, and where files are wanted."""

import json
import shutil
import subprocess

import pytest

from evoprune.cli.main import COMMANDS


@pytest.fixture
def script(evoprune, tmp_path):
    pytest.importorskip("shtab")
    answer = evoprune("completion", "bash")
    assert answer.code == 0
    (tmp_path / "completion.bash").write_text(answer.out)
    return tmp_path / "completion.bash"


def completed(script, *words):
    """What bash offers for the last of ``words``."""
    line = " ".join(words)
    told = f"""
        source {script}
        COMP_WORDS=({" ".join(word or "''" for word in words)}); COMP_CWORD={len(words) - 1}
        COMP_LINE={json.dumps(line)}; COMP_POINT={len(line)}
        $(complete -p evoprune | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        printf '%s\\n' "${{COMPREPLY[@]}}"
        """
    return subprocess.run(["bash", "-c", told], capture_output=True, text=True, cwd=script.parent).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_files(script):
    (script.parent / "mine.yaml").touch()
    assert completed(script, "evoprune", "re") == [name for name in ("resume", "recover", "report") if name in COMMANDS]
    assert "--runs-dir" in completed(script, "evoprune", "run", "--ru")
    assert completed(script, "evoprune", "run", "mi") == ["mine.yaml"]


def test_without_shtab_one_line_says_what_to_install(evoprune, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    answer = evoprune("completion", "bash")
    assert answer.code == 2
    assert answer.err == "evoprune: completion: needs shtab: pip install 'evoprune[completion]'\n"
