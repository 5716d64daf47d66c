"""What takes long is told, and the innermost of what is being done."""

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import threading
from contextlib import suppress

import pytest

from evoprune.console import progress as module
from evoprune.console.progress import Progress, listening, steps


class Told(io.StringIO):
    """A standard error that says when a line with some words came."""

    def __init__(self):
        super().__init__()
        self._lock = threading.Condition()

    def write(self, text):
        with self._lock:
            written = super().write(text)
            self._lock.notify_all()
        return written

    def wait_for(self, words):
        with self._lock:
            return self._lock.wait_for(lambda: words in self.getvalue(), timeout=30)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(module, "_LONG", 0.0)
    monkeypatch.setattr(module, "_AGAIN", 0.0)
    monkeypatch.setattr(module, "_LIVE", 0.001)


@pytest.mark.parametrize(("columns", "live"), [(0, False), (80, True)])
def test_a_terminal_without_a_size_gets_whole_lines(monkeypatch, columns, live):
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    with os.fdopen(child, "w") as stderr, os.fdopen(parent, "rb", buffering=0) as terminal:
        monkeypatch.setattr(sys, "stderr", stderr)
        with Progress("loading"):
            told = terminal.read(100)
    assert (b"\rloading" in told) == live
    assert b"loading" in told


def test_only_the_innermost_phase_is_told(monkeypatch):
    monkeypatch.setattr(sys, "stderr", told := Told())
    with Progress("the whole run"), Progress("the first part"):
        assert told.wait_for("the first part")
        before = told.getvalue().count("the whole run\n")
        assert told.wait_for("the first part\n" * 2)
        assert told.getvalue().count("the whole run\n") == before


def test_a_log_has_a_line_for_each_phase_with_its_seconds_and_none_within_the_minute(monkeypatch):
    monkeypatch.setattr(module, "_AGAIN", 1e9)
    monkeypatch.setattr(sys, "stderr", told := Told())
    heard: list[str] = []
    with listening(lambda state, _: heard.append(state)), Progress("planning"):
        with Progress("reading 1/3") as phase:
            phase.now("reading 2/3")
            while heard.count("reading 2/3") < 2:  # the first one is dealt with
                pass
        assert list(steps("abc", "counting", "letter")) == ["a", "b", "c"]
    with suppress(KeyError), Progress("failing"):
        raise KeyError
    assert re.sub(r"\d+ s", "s", told.getvalue()).splitlines() == ["reading 1/3: s", "planning: s"]


def test_steps_are_the_items_and_tell_how_many_are_done(monkeypatch):
    monkeypatch.setattr(sys, "stderr", told := Told())
    seen = []
    for item in steps(iter("abc"), "calibrating", "window", 3):
        assert told.wait_for(f"calibrating: {len(seen)}/3 windows, " if seen else "calibrating")
        seen.append(item)
    assert seen == ["a", "b", "c"]


def test_a_listener_hears_the_innermost_phase_and_the_time_it_has_left():
    heard, told = [], threading.Event()

    def listener(state, seconds_left):
        heard.append((state, seconds_left))
        told.set()

    def wait():
        told.clear()
        assert told.wait(timeout=30)
        return heard[-1]

    with listening(listener), Progress("the whole run"):
        assert wait() == ("the whole run", None)
        with Progress("a part", quiet=True) as part:
            part.now("half of it", 1000.0)
            while wait()[0] != "half of it":
                pass
            state, left = heard[-1]
            assert (state, 900 < left <= 1000) == ("half of it", True)
    count = len(heard)
    with Progress("later"):
        pass
    assert len(heard) == count
