"""Real processes share real files, which stay as long as there is room."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from evoprune import InputError
from evoprune.cli import main
from evoprune.problems.language_model.models import cache as cache_module
from evoprune.problems.language_model.models.cache import CachedFile, cache_folder, cache_limit, clear, entries

SCRIPT = """
import sys
from evoprune.problems.language_model.models.cache import CachedFile
def write(path):
    path.write_text("written")
    print("writing", flush=True)
    if "slowly" in sys.argv:
        sys.stdin.readline()
file = CachedFile("a")
if not file.exists:
    file.make(write)
print(file.path.read_text(), flush=True)
sys.stdin.readline()
file.release()
"""


@pytest.fixture
def hold():
    """Starts a process that makes the file, or uses it, and holds it until it reads a line; ends it with the test."""
    started = []

    def call(*arguments):
        command = [sys.executable, "-c", SCRIPT, *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.communicate()


def made(name, size, used):
    """A file of ``size`` bytes that was used ``used`` seconds after 1970; it is held."""
    file = CachedFile(name)
    file.make(lambda path: path.write_bytes(bytes(size)))
    os.utime(file.path, (used, used))
    return file


def names():
    return [entry.path.stem for entry in entries()]


def allow(monkeypatch, size):
    monkeypatch.setenv("EVOPRUNE_CACHE_GB", str(size / 1e9))


def test_the_first_makes_it_the_others_wait_for_it_and_it_stays(hold):
    first = hold("slowly")
    assert first.stdout.readline() == "writing\n"
    second = hold()
    first.stdin.write("\n")
    assert first.stdout.readline() == "written\n"
    assert second.stdout.readline() == "written\n"  # without writing
    for process in (first, second):
        process.communicate("\n")
    assert names() == ["a"]
    assert CachedFile("a").exists


def test_of_two_processes_that_find_no_file_one_makes_it_and_the_other_uses_it(cache, monkeypatch):
    both, calls, real = threading.Barrier(2), itertools.count(), cache_module.lock

    def lock(path, shared=False, **options):
        handle = real(path, shared, **options)
        if next(calls) < 2:
            both.wait()
        return handle

    def use():
        file = CachedFile("a")
        if not file.exists:
            file.make(lambda path: path.write_text("made by one"))
        return file

    monkeypatch.setattr(cache_module, "lock", lock)
    with ThreadPoolExecutor(2) as pool:  # flock keeps threads apart as it does processes: each opens the file
        answers = as_completed([pool.submit(use) for _ in range(2)], timeout=30)
        holder = next(answers).result()
        try:
            other = next(answers).result()
        finally:
            holder.release()  # else a thread that waits for it would never end
    assert other.exists


def test_what_a_killed_process_began_is_swept_up(hold, cache):
    killed = hold("slowly")
    assert killed.stdout.readline() == "writing\n"
    assert any(cache.glob("a.*.tmp"))
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    made("b", 1, 0).release()
    assert {path.stem for path in cache.iterdir()} == {"b"}


def test_the_least_recently_used_go_first(monkeypatch):
    for name, used in {"c": 1, "a": 2, "b": 3}.items():
        made(name, 100, used).release()
    CachedFile("c").release()  # now it is the last that was used
    allow(monkeypatch, 350)
    made("d", 100, 4).release()
    assert names() == ["b", "d", "c"]
    allow(monkeypatch, 150)
    CachedFile("b").release()
    assert names() == ["b"]


def test_what_is_in_use_stays_whatever_the_limit(monkeypatch, hold):
    allow(monkeypatch, 0)
    other = hold()
    assert [other.stdout.readline() for _ in range(2)] == ["writing\n", "written\n"]
    held = CachedFile("a")
    assert clear() == []
    other.communicate("\n")
    assert names() == ["a"]
    held.release()
    assert list(cache_folder().iterdir()) == []


def test_a_damaged_file_is_made_again_while_others_hold_it(hold):
    other = hold()
    assert [other.stdout.readline() for _ in range(2)] == ["writing\n", "written\n"]
    CachedFile("a").discard()
    again = CachedFile("a")  # which does not wait for the other process
    assert not again.exists
    again.make(lambda path: path.write_text("again"))
    other.communicate("\n")
    assert again.path.read_text() == "again"


def test_the_folder_is_the_users_choice_or_where_caches_are(monkeypatch, tmp_path, cache):
    assert cache_folder() == cache
    monkeypatch.delenv("EVOPRUNE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "evoprune"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / "home" / ".cache" / "evoprune"
    assert Path.home().joinpath(".cache", "evoprune").stat().st_mode & 0o777 == 0o700


def test_by_default_a_tenth_of_the_disk_at_most(monkeypatch):
    free = os.statvfs(cache_folder()).f_bavail * os.statvfs(cache_folder()).f_frsize
    assert 0 < cache_limit() <= min(10e9, 0.2 * free)
    monkeypatch.setenv("EVOPRUNE_CACHE_GB", "much")
    with pytest.raises(InputError, match="EVOPRUNE_CACHE_GB: expected a number of gigabytes, got 'much'"):
        CachedFile("a")


def test_the_command_lists_what_there_is_and_deletes_what_nobody_uses(capsys, cache):
    for number, model in enumerate(("small", "large")):
        about = {"what": "levels: gblm by matrix", "model": f"models/{model}"}
        file = CachedFile(model)
        file.make(lambda path, about=about, size=1000 * 50**number: save_file({"x": numpy.zeros(size)}, path, about))
        file.release()
    made("spoiled", 10, 0).release()
    assert main(["cache"]) == 0
    _, *lines, total = capsys.readouterr().out.splitlines()
    rows = {line.split()[-4]: line for line in lines}
    assert "levels: gblm by matrix" in rows["models/large"]
    assert "400kB" in rows["models/large"]
    assert sum("damaged" in line for line in lines) == 1
    assert total.startswith("3 files, 408kB of at most ")
    assert total.endswith(f"in {cache}")
    held = CachedFile("large")
    assert main(["cache", "--clear"]) == 0
    assert names() == ["large"]
    held.release()
