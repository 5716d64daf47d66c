"""``python -m evoprune``: parses the command line, runs a command, and returns its exit code.

0 done, 1 a fault in evoprune, 2 input that cannot be used, 3 stopped before the end, 130 interrupted.
"""

import argparse
import errno
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from types import FrameType
from typing import NoReturn

from evoprune.cli.ablate import add_ablate, add_front
from evoprune.cli.export import add_eval, add_export
from evoprune.cli.ls import add_ls, add_schema
from evoprune.cli.planned import add_plugins, find_command, plugin_commands
from evoprune.cli.run import add_resume, add_run, add_validate
from evoprune.cli.status import add_report, add_status
from evoprune.console.errors import DISK_TROUBLE, InputError, Stopped, did_you_mean
from evoprune.console.version import __version__

_ADDED = (
    add_run, add_status, add_resume, add_ablate, add_front, add_export, add_eval, add_report, add_validate,
    add_ls, add_schema,
)  # fmt: skip

COMMANDS = {add.__name__.removeprefix("add_"): add for add in _ADDED}
_INTERRUPTED = 130

# Waiting threads of GNU's OpenMP (in iterations) and LLVM's (in ms) spin this long, then sleep. With longer spinning,
# they block the working thread on a busy machine; without (PASSIVE), a token takes up to three times as long.
_WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}

# errors of a path that a user gave; other errors of the system keep their traceback
_OUT_OF_REACH = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}

_NEGATIVE = re.compile(r"-\.?\d")


class _Parser(argparse.ArgumentParser):
    """Raises :class:`evoprune.InputError`, a line, where argparse prints the usage of a command and exits."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. ``arguments`` default to the command line's."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.update(_WAITING | os.environ)  # before libraries are imported, which read it once
    try:
        options = _parse(arguments)
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere if options.quiet else sys.stderr):
            return options.call(options) or 0
    except (InputError, Stopped) as error:
        print(f"evoprune: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("evoprune: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno in _OUT_OF_REACH and error.filename is not None:
            print(f"evoprune: {error.filename}: {error.strerror}; expected a path that you may use", file=sys.stderr)
            return InputError.exit_code
        if error.errno in DISK_TROUBLE:
            print(f"evoprune: cannot write: {error.strerror}", file=sys.stderr)
            return Stopped.exit_code
        raise
    return 0


def parser(command: str = "") -> argparse.ArgumentParser:
    """Return the parser of all commands, or of ``command`` alone, which is faster."""
    whole = _Parser(
        prog="evoprune",
        description="evoprune is evolutionary search over any genome; language models are its first problem.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"evoprune {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    named = [command] if command else plugin_commands()
    add_plugins(commands, named, planning=True)
    for name, add in COMMANDS.items():
        if command in {"", name}:
            add(commands)
    add_plugins(commands, named, planning=False)
    whole.epilog = next(iter(commands.choices.values())).epilog
    for one in commands.choices.values():
        one.description = str(one.description).replace("``", "")  # docstrings are marked up for the site
        one.add_argument("-q", "--quiet", action="store_true", help="do not show progress: the result and errors alone")
        one.set_defaults(parser=one)
    return whole


def _parse(arguments: list[str]) -> argparse.Namespace:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError("is not valid UTF-8", ascii(argument)) from None
    if not arguments:
        (whole := parser()).exit(2, whole.format_help())
    if arguments[0] == "help":
        arguments = [*arguments[1:2], "--help"]
    command, names = arguments[0], [*COMMANDS, *plugin_commands()]
    if not command.startswith("-") and command not in names:
        raise InputError(f"unknown command{did_you_mean(command, names)}", command)
    if command in plugin_commands():
        find_command(command)
    whole = parser("" if command.startswith("-") else command)
    known = argparse.Namespace(arguments=arguments, errors=sys.stderr)
    options, unknown = whole.parse_known_args(_joined(arguments), known)
    if unknown:
        hint = "; keys of the experiment are given as --set KEY=VALUE, as in --set population=40"
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint if 'set' in options else ''}")
    return options


def _joined(arguments: Sequence[str]) -> list[str]:
    """Join options and negative values such as -1MB, which argparse would take for options."""
    joined: list[str] = []
    for argument in arguments:
        if _NEGATIVE.match(argument) and joined and re.fullmatch("--[^=]+", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """The first signal ends the run; more signals must not interrupt its clean-up."""
    for either in (signal.SIGINT, signal.SIGTERM):
        signal.signal(either, lambda *_: None)  # SIG_IGN: Python would complain of a signal that is waiting
    raise KeyboardInterrupt
