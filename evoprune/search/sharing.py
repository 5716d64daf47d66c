"""One run of several processes: the process with the run's lock searches, the helpers score candidates for it.

While there are helpers, the searching process writes the lines of candidates to score into ``asked.jsonl``. To score a
candidate, a process claims it: it locks the byte of the candidate's number in ``claims``, which the system unlocks when
the process ends. A helper writes the score into ``ahead.jsonl`` before it releases the claim; the searching process
holds its claims until all candidates are scored. So only candidates of killed processes are scored twice.
"""

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

from evoprune.backends import start
from evoprune.backends.execution import Execution
from evoprune.console.progress import Progress
from evoprune.experiment.resolve import Resolved
from evoprune.files.json_files import read_json, write_text
from evoprune.files.locks import is_locked
from evoprune.interfaces.problem import Evaluation, Problem, worst
from evoprune.records import recorded, run_folder
from evoprune.records.history import Line, append, encode, scored
from evoprune.records.recorded import Key, item_of, key_of
from evoprune.records.run_folder import AHEAD, ASKED, CLAIMS, ENVIRONMENT, LOCK
from evoprune.search.toolbox import Prepared, decide_execution, scorer

Map = Callable[..., Iterator[tuple[int, Evaluation]]]
"""Maps a function as :meth:`Backend.map` does: of genomes, with ``claim``."""

_HELPER = 2**40  # the byte that helpers lock together
_LOOK, _PAUSE = 0.1, 0.01  # seconds between two looks for helpers, and for scores or work of others


class _Claims:
    """Locks of bytes of a file. A process opens it once, as closing any descriptor of it releases all its locks."""

    def __init__(self, folder: Path) -> None:
        self._file = FileIO(folder / CLAIMS, "a+")

    def take(self, number: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def release(self, number: int, count: int = 1) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, count, number)

    def help(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_SH, 1, _HELPER)

    @property
    def helped(self) -> bool:
        if not self.take(_HELPER):
            return True
        self.release(_HELPER)
        return False

    def close(self) -> None:
        self._file.close()


class Sharing:
    """Candidates of the run in ``folder``, which this process scores with the helpers that come and go."""

    def __init__(self, folder: Path, problem: Problem) -> None:
        self._folder, self._problem = folder, problem
        self._claims: _Claims | None = None
        self._looked, self._offered = 0.0, False
        (folder / ASKED).unlink(missing_ok=True)  # of a process that was killed

    def map(self, mapped: Map, lines: Sequence[Line]) -> Iterator[tuple[int, Evaluation]]:
        """Yield ``(index, score)`` of the candidates of ``lines``, scored here by ``mapped`` or by helpers."""
        keys = {key_of(line): index for index, line in enumerate(lines)}
        waiting, begun = set(keys.values()), set[int]()

        def claim(index: int) -> bool:
            if index not in waiting or index in begun:
                return False
            if self._offered or self._helped():
                if not self._offered:
                    requests = b"".join(encode(lines[place]) for place in sorted(waiting - begun))
                    write_text(self._folder / ASKED, requests.decode())
                    self._offered = True
                assert self._claims
                if not self._claims.take(lines[index]["candidate"]) or key_of(lines[index]) in self._ahead():
                    return False
            begun.add(index)
            return True

        try:
            while waiting:
                for index, evaluation in self._scores(mapped, lines, claim, keys):
                    if index in waiting:
                        waiting.discard(index)
                        if not waiting:
                            self._withdraw()
                        yield index, evaluation
                if waiting:
                    time.sleep(_PAUSE)
        finally:
            self._withdraw()

    def _scores(
        self, mapped: Map, lines: Sequence[Line], claim: Callable[[int], bool], keys: dict[Key, int]
    ) -> Iterator[tuple[int, Evaluation]]:
        yield from mapped([*map(item_of, lines)], claim=claim)
        if self._offered:
            yield from ((keys[key], score) for key, score in self._ahead().items() if key in keys)

    def _helped(self) -> bool:
        if (now := time.monotonic()) - self._looked < _LOOK:
            return False
        self._looked = now
        if self._claims is None and (self._folder / CLAIMS).exists():  # a helper has created it
            self._claims = _Claims(self._folder)
        return self._claims is not None and self._claims.helped

    def _withdraw(self) -> None:
        if self._offered and self._claims:
            (self._folder / ASKED).unlink(missing_ok=True)
            self._claims.release(0, _HELPER)
            self._offered = False

    def _ahead(self) -> dict[Key, Evaluation]:
        return recorded.ahead(self._folder, self._problem.signs, self._problem.space)


def help_with(resolved: Resolved, folder: Path, execution: Execution) -> None:
    """Score candidates of the run in ``folder`` while another process searches.

    Raises :class:`evoprune.InputError` if it is not the run of ``resolved``.
    """
    claims = _Claims(folder)
    claims.help()
    try:
        with Progress("waiting for candidates of another process"):
            while not (folder / ASKED).exists():
                if not is_locked(folder / LOCK):
                    return
                time.sleep(_PAUSE)
        environment = read_json(folder / ENVIRONMENT)
        recorded.refuse_changed_experiment(resolved, environment, folder)
        run = Prepared.of(resolved, folder, decide_execution(resolved, execution), run_folder.read_measured(folder))
        recorded.refuse_change(environment.get("fingerprint"), run.fingerprint, "fingerprint", folder)
        with start(run.execution, run.build_seconds) as backend, Progress("scoring candidates of another process"):
            while is_locked(folder / LOCK):
                _score_some(run, backend.map, claims)
                time.sleep(_PAUSE)
    finally:
        claims.close()


def _score_some(run: Prepared, mapped: Map, claims: _Claims) -> None:
    """Score the requested candidates that no process has claimed."""
    asked, signs, space = run.folder / ASKED, run.problem.signs, run.problem.space
    with suppress(FileNotFoundError):
        now = _state(asked)
        if not (lines := recorded.read_requests(asked)):
            return

        def claim(index: int) -> bool:
            number = lines[index]["candidate"]
            if not claims.take(number):
                return False
            with suppress(FileNotFoundError):
                if _state(asked) == now and key_of(lines[index]) not in recorded.ahead(run.folder, signs, space):
                    return True
            claims.release(number)
            return False

        how: dict[str, Any] = scorer(run.toolbox, run.problem, lines[0].get("fidelity", 1.0))
        for index, evaluation in mapped(how.pop("score"), [*map(item_of, lines)], claim=claim, **how):
            if evaluation.failure:
                evaluation = replace(evaluation, values=worst(signs))
            with FileIO(run.folder / AHEAD, "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # :func:`recorded.cut_broken_end` must not cut it
                append(file, encode(lines[index] | scored(evaluation)))
            claims.release(lines[index]["candidate"])


def _state(path: Path) -> tuple[int, int]:
    """Return the identity of the present version of a file."""
    state = path.stat()
    return state.st_ino, state.st_mtime_ns
