"""Fixtures for all tests, and signals as they were."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from evoprune.backends.evaluation import _THREAD_VARIABLES
from evoprune.cli.main import _WAITING
from evoprune.figures import search as figures_of_search
from evoprune.figures import style
from evoprune.search import search

_DRAW = style._write
_OF_SEARCH = ("draw_convergence", "draw_front")
_THREADS = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
os.environ.update(_WAITING | os.environ)  # as the command line does; PyTorch reads it when it is imported


def pytest_configure() -> None:
    """Collect no garbage among modules: that took a third of the time of tests on models."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub: refused at once, and not after the minute that a machine without a network tries to reach it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # HF_HUB_OFFLINE=1, which was read at import
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # datasets takes seconds to import, and reads it then
    if "datasets" in sys.modules:
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What fixtures of a module or a session make is kept apart, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOPRUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("EVOPRUNE_CACHE_GB", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _runs_without_details() -> Iterator[None]:
    """Draw no search, write other figures empty, and wait for no disk.

    Each takes as long as a search here.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "_write", _write_empty)
        for name in _OF_SEARCH:
            patch.setattr(search, name, lambda *_: None)
        patch.setattr(os, "fsync", lambda _: None)
        yield


def _write_empty(_: Any, place: Path | BytesIO, **options: Any) -> None:
    if isinstance(place, Path):
        place.touch()
    else:
        place.write(b"<svg xmlns='http://www.w3.org/2000/svg'><defs></defs></svg>")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """SVG files are drawn."""

    def write(figure: Any, place: Path | BytesIO, **options: Any) -> None:
        (_write_empty if isinstance(place, Path) else _DRAW)(figure, place, **options)

    monkeypatch.setattr(style, "_write", write)


@pytest.fixture
def search_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of each search are made."""
    for name in _OF_SEARCH:
        monkeypatch.setattr(search, name, getattr(figures_of_search, name))


@pytest.fixture
def png_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """All figures are drawn."""
    monkeypatch.setattr(style, "_write", _DRAW)


@pytest.fixture(scope="session")
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Paths without end. ``mktemp`` for each would list all folders that there are already."""
    home = tmp_path_factory.mktemp("caches")
    return (home / str(number) for number in count())


@pytest.fixture(autouse=True)
def cache(_caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's cache, and of the processes that it starts; nothing is in it."""
    (folder := next(_caches)).mkdir(mode=0o700)
    monkeypatch.setenv("EVOPRUNE_CACHE", str(folder))
    return folder


def _restore_threads() -> None:
    for name, threads in _THREADS.items():
        if threads is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = threads
    if "torch" in sys.modules and (threads := _THREADS["OMP_NUM_THREADS"]):
        sys.modules["torch"].set_num_threads(int(threads))


@pytest.fixture(autouse=True)
def _as_many_threads() -> Iterator[None]:
    """Undo that runs set the threads of this process: small products take several times as long in two of them."""
    _restore_threads()  # fixtures of a module or a session run, too
    yield
    _restore_threads()


@pytest.fixture(autouse=True)
def _restore_signals() -> Iterator[None]:
    """The command line sets handlers of its own in the process that it is called in: this one."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
