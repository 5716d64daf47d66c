"""A page for people about one run, several, or an ablation: HTML that needs no network, and the same as Markdown."""

from evoprune.report.page import write
from evoprune.report.watch import watch

__all__ = ["watch", "write"]
