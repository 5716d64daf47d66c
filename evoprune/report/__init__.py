"""A page for people about one run or several: HTML that needs no network, and the same as Markdown."""

from evoprune.report.page import write

__all__ = ["write"]
