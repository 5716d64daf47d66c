"""The command line: one file a command, and :func:`main`."""

from evoprune.cli.main import main
