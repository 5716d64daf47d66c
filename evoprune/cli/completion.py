"""``evoprune completion SHELL``: a script by which a shell completes commands, options and files.

It is made by shtab (``pip install 'evoprune[completion]'``) and holds all it needs, so that no Tab starts Python.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evoprune.errors import InputError

_SHELLS = ("bash", "zsh", "tcsh")


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes commands in a shell",
        description=__doc__,
        epilog="example: evoprune completion bash > ~/.local/share/bash-completion/completions/evoprune",
    )
    parser.add_argument("shell", choices=_SHELLS, help="which shell's")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Print the script."""
    try:
        import shtab
    except ImportError:
        raise InputError("needs shtab: pip install 'evoprune[completion]'", "completion") from None
    from evoprune.cli.main import parser

    whole = parser()
    (commands,) = (action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        for action in command._actions:
            if action.type is Path or action.dest in {"file", "run", "source"}:
                action.complete = shtab.FILE
    print(shtab.complete(whole, options.shell))
