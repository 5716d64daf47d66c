"""The arguments that name an experiment, shared by the commands that take one."""

from __future__ import annotations

import argparse

from evoprune.experiment.resolve import Resolved, resolve_file


def add_set(parser: argparse.ArgumentParser, explanation: str) -> None:
    """Add ``--set`` with the help text ``explanation``."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=explanation)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file, ``--set`` and ``--seed``."""
    parser.add_argument("file", metavar="PROBLEM.yaml", help="the experiment; see the folder problems/")
    add_set(parser, "override a key, as in operators.mutate.sigma=0.1; ~KEY deletes it; repeatable, the last wins")
    parser.add_argument("--seed", help="the same as --set seed=N")


def read(options: argparse.Namespace) -> Resolved:
    """The checked experiment that ``options`` name. Raises :class:`evoprune.InputError`."""
    return resolve_file(options.file, options.set + ([f"seed={options.seed}"] if options.seed is not None else []))
