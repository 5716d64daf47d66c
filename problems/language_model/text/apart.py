"""Which texts of a run must not be the same, nor overlap. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from problems.language_model.settings import TextSettings


def fault(search: TextSettings, report: TextSettings, calibration: TextSettings | None) -> str | None:
    """What is wrong with the choice of texts; None if nothing is."""
    if _overlap(search, report):
        return (
            "search_text and report_text are the same text; a text that the search sees must not score its result; "
            "give another, or parts of it: part: [0, 0.7] and part: [0.7, 1]"
        )
    if report.sampling != "first":
        return (
            f"report_text.sampling is {report.sampling}; results are compared on the text's first windows: expected "
            "first"
        )
    if calibration and _overlap(calibration, report):
        return "calibration_text and report_text are the same text; use another text for one of them"
    if calibration and _overlap(calibration, search) and calibration.identity != search.identity:
        return "calibration_text and search_text overlap; give both the same part, or parts that do not"
    return None


def _overlap(one: TextSettings, other: TextSettings) -> bool:
    """Whether both read some of the same text."""
    (begin, end), (others_begin, others_end) = one.part or (0, 1), other.part or (0, 1)
    return one.whole_identity == other.whole_identity and begin < others_end and others_begin < end
