"""The texts of a run by their roles: search, held-out, calibration and report text."""

from __future__ import annotations

from functools import cached_property

from evoprune import InputError
from problems.models.resident import Resident
from problems.texts.overlap import holds_much_of
from problems.texts.settings import TextSettings, TextsSettings
from problems.texts.windows import Windows, check_length, cut_windows, held_out_windows


class Texts:
    """The windows of each text that ``settings`` name, read at their first use.

    If the run ``calibrates``, report and held-out text must not overlap with the calibration text.
    """

    def __init__(self, settings: TextsSettings, resident: Resident, calibrates: bool = False) -> None:
        self._settings, self._resident = settings, resident
        self.calibrates = calibrates

    @cached_property
    def search(self) -> Windows:
        return self.windows(self._settings.search_text, "search_text")

    @cached_property
    def calibration(self) -> Windows:
        at_most = self._settings.calibration_text is None  # then the number of windows is a default
        return self.windows(self._settings.calibration, "calibration_text", at_most)

    @cached_property
    def held_out(self) -> Windows | None:
        """Windows of the search text's source that neither search nor calibration sees; None if there are none."""
        count = self._settings.held_out_windows
        if not count:
            return None
        same = self.calibrates and self._settings.calibration.identity == self._settings.search_text.identity
        return held_out_windows(self.search, [self.calibration] if same else [], count, self._resident.tokenizer)

    @cached_property
    def report(self) -> Windows:
        """The windows that score the result, none of which the search may see; only the main process reads them."""
        report = self.windows(self._settings.report_text, "report_text")
        seen = {"search_text": self.search, "calibration_text": self.calibration if self.calibrates else None}
        for role, windows in (seen | {"held-out text": self.held_out}).items():
            if windows and holds_much_of(report, windows):
                raise InputError(
                    f"problem.report_text holds passages of the {role}, and text that a search sees must not score "
                    "its result; give another text, or split the file in two"
                )
        return report

    def windows(self, text: TextSettings, role: str, at_most: bool = False) -> Windows:
        check_length(text, self._resident.model, role)
        return cut_windows(text, self._resident.tokenizer, role, at_most)

    def fingerprint(self) -> dict[str, str]:
        """Return the hash of each text's tokens, and the token that windows begin with if there is one."""
        more = {"calibration_text": self.calibration if self.calibrates else None, "held_out_text": self.held_out}
        hashes = {"search_text": self.search.sha256, "report_text": self.report.sha256}
        begins = {"begin": self.search.begin} if self.search.begin is not None else {}
        return begins | hashes | {name: windows.sha256 for name, windows in more.items() if windows}
