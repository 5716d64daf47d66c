"""The command line: one file a command, and :func:`main`, which turns errors into exit codes."""

from evoprune.cli.main import main

__all__ = ["main"]
