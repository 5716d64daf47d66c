"""``python -m evoprune``: parses the command line, runs a command, and returns its exit code.

0 done, 1 a fault in evoprune, 2 input that cannot be used, 3 stopped before the end, 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from types import FrameType

from evoprune import __version__
from evoprune.cli import (
    ablate,
    cache,
    completion,
    eval,
    export,
    front,
    ls,
    planned,
    recover,
    report,
    resume,
    run,
    schema,
    status,
    validate,
)
from evoprune.console.phase import is_launched
from evoprune.errors import InputError, Stopped, did_you_mean

COMMANDS = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        run,
        status,
        resume,
        ablate,
        front,
        export,
        recover,
        eval,
        report,
        validate,
        ls,
        cache,
        schema,
        completion,
    )
}

_LAUNCHED = {"recover"}
"""What accelerate's launcher may start."""

_INTERRUPTED = 130

_WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
"""By default threads that wait for each other spin for some microseconds, and then sleep. If they spin for longer, they
have the core of the one that all wait for when another process is busy, and a run takes many times as long. If they
sleep at once, as with ``OMP_WAIT_POLICY=PASSIVE``, a token takes up to three times as long, also in the processes that
time models. For GNU's OpenMP (how often it looks) and LLVM's (milliseconds)."""

_OUT_OF_REACH = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG}
"""Errors of a path that a user gave; other errors of the system keep their traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. ``arguments`` default to the command line's."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.update(_WAITING | os.environ)  # before libraries are imported, which read it once
    try:
        options = _parse(arguments)
        if is_launched() and options.command not in _LAUNCHED:
            raise InputError("starts several processes, which share a training alone (recover)", "accelerate launch")
        with _silence() if options.quiet else nullcontext():
            return options.call(options) or 0
    except (InputError, Stopped) as error:
        print(f"evoprune: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("evoprune: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of our output, `head` say, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in _OUT_OF_REACH or error.filename is None:
            raise
        print(f"evoprune: {error.filename}: {error.strerror}; expected a path that you may use", file=sys.stderr)
        return InputError.exit_code
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    whole = argparse.ArgumentParser(
        prog="evoprune",
        description="Evolutionary search on DEAP.",
        epilog="example: python -m evoprune run problems/gpt2_mini.yaml",
    )
    whole.add_argument("--version", action="version", version=f"evoprune {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        command.add_parser(commands)
    planned.add_parsers(commands)
    for one in commands.choices.values():
        one.description = str(one.description).replace("``", "")  # docstrings are marked up for the site
        one.add_argument("-q", "--quiet", action="store_true", help="do not show progress: the result and errors alone")
        one.set_defaults(parser=one)
    return whole


def _parse(arguments: list[str]) -> argparse.Namespace:
    """``arguments`` as options; exits with the command's usage where they are not understood."""
    whole = parser()
    if not arguments:
        whole.exit(2, whole.format_help())
    if arguments[0] == "help":
        arguments = [*arguments[1:2], "--help"]
    known = [*COMMANDS, *planned.names()]
    if not arguments[0].startswith("-") and arguments[0] not in known:
        raise InputError(f"unknown command{did_you_mean(arguments[0], known)}", arguments[0])
    if arguments[0] in planned.names():
        planned.find(arguments[0])
    options, unknown = whole.parse_known_args(arguments, argparse.Namespace(arguments=arguments, errors=sys.stderr))
    if unknown:
        hint = (
            "; keys of the experiment are given as --set KEY=VALUE, as in --set population=40"
            if "set" in options
            else ""
        )
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


@contextmanager
def _silence() -> Iterator[None]:
    """Progress goes to standard error, and nowhere here; what is raised is told after."""
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        yield


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """The first signal ends the run; more signals must not interrupt its clean-up.

    Not SIG_IGN: of a signal that is already waiting, Python would complain on standard error.
    """
    for either in (signal.SIGINT, signal.SIGTERM):
        signal.signal(either, lambda *_: None)
    raise KeyboardInterrupt
