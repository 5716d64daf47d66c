"""The Python interface: runs, ``minimize``, and ask and tell."""

from evoprune.api.runs import Run, read_history, run

__all__ = ("Run", "read_history", "run")
