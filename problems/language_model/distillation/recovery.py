"""Recovers the result of a run, in the run or by the command ``recover``."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from evoprune import Exported, InputError, Stopped
from evoprune.plugins import EVOLVED, Outcome, command_on, digits, note, plain
from evoprune.problems.language_model.distillation.recover import Recovered, recover
from evoprune.problems.language_model.distillation.settings import RecoverPhaseSettings, RecoverSettings
from evoprune.problems.language_model.distillation.teacher import RecoveryText, recovery_text
from evoprune.problems.language_model.distillation.trainable_parameters import refuse_lora
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.export.format import ExportFormat, checked_result
from evoprune.problems.language_model.models.settings import is_model_file
from evoprune.problems.language_model.models.tensor_file import replace_file
from evoprune.problems.language_model.results.figures import RECOVERY, draw_recovery
from evoprune.problems.language_model.results.final_model import RECOVERED, FinalModel
from evoprune.problems.language_model.results.recovery import TRAINING_COST, Recovery, has_checkpoints
from evoprune.problems.language_model.results.result import LanguageModelResult, criterion
from evoprune.problems.language_model.results.summary import recovered_lines

WORKPLACE = "recovery"
"""Folder of the checkpoints in the folder of a run."""

_EXPORTED, _AFTER = 3.0, 0.3  # seconds of an export, and of scoring a trained model, for each second of the report
_OF_MORE = 0.5  # share of additional time that the training gets, beside plan and search

Json = dict[str, Any]


@dataclass(frozen=True)
class Distillation(Recovery):
    """Training of the result of a run by the settings ``asked``; ``baselines``: genomes by name, for ``alike``."""

    session: Session
    asked: RecoverSettings
    baselines: Mapping[str, Sequence[float]]

    @cached_property
    def settings(self) -> RecoverSettings:
        """``asked``; with types and without cuts, ``train: auto`` is ``scales``."""
        transform = self.session.transform
        if self.asked.train == "auto" and transform.form and not transform.facts.prunes_blocks:
            return self.asked.model_copy(update={"train": "scales"})
        return self.asked

    @cached_property
    def text(self) -> RecoveryText:
        return recovery_text(self.asked, self.session)

    def check(self) -> None:
        """Raise :class:`evoprune.InputError` for settings or a text that cannot be used, before the search."""
        settings, transform = self.settings, self.session.transform
        if unknown := [name for name in settings.trained_alike if name not in self.baselines]:
            raise InputError(f"{', '.join(unknown)}: expected some of {', '.join(self.baselines)}", "alike")
        if settings.train == "lora":
            refuse_lora(transform.facts.sparse)
        if settings.train == "scales" and not transform.form:
            raise InputError("scales are those of GGUF types, and the result has none; use all, lora or norms", "train")
        _ = self.text

    def in_run(self, outcome: Outcome, result: Json, folder: Path, reporting: float, scored: float) -> Json:
        """Add the recovery to ``result``; write weights that are better to the run's ``folder``.

        ``reporting``: seconds of the report, which ``scored`` so many tokens. With a limit of time, the training gets
        the time that the export and its comparison do not need. An interrupted training with a time continues, or ends
        at its checkpoint.
        """
        settings, left = self.settings, outcome.seconds_left
        if left is not None:
            checked = outcome.drafted * self._read_by_export if outcome.drafted else 0.0
            left -= (1 + _AFTER) * reporting + max(_EXPORTED * reporting, checked)
            assert isinstance(self.asked, RecoverPhaseSettings)  # of a run
            if self.asked.comparing:
                left -= self.asked.comparing + max(reporting, checked)
            needed = TRAINING_COST * self.asked.least * reporting / scored
            begun = self.asked.time and has_checkpoints(folder / WORKPLACE)
            if needed > left and not begun:
                more = digits(max(1.0, (needed - left) / _OF_MORE / 60), 2)
                why = f"no time for {self.asked.least:,} tokens, which about {more} min more would give, or: "
                why += self._command(folder, 1 + 3 * needed / 60)
                note(f"nothing is trained: {why}")
                return result | {"untrained": why}
            settings = settings.lasting(left)
        final = FinalModel(self.session, outcome.best)
        recovered = recover(final, self.baselines, settings, self.text, folder / WORKPLACE, anew=True)
        if recovered.helped:
            replace_file(folder / RECOVERED, recovered.weights)
        caption = draw_recovery(recovered.rows, recovered.protocol["held_out_dense"], folder, outcome.title)
        return _added(result, recovered) | {"figures": result.get("figures", {}) | {RECOVERY: caption}}

    def _command(self, folder: Path, minutes: float) -> str:
        """Return the command that trains the result of the run in ``folder`` for some ``minutes``."""
        model = self.session.settings.model
        out = f"trained{Path(model).suffix if is_model_file(model) else ''}"
        return command_on(folder, "recover", "--out", out, "--time", f"{math.ceil(minutes)}m")

    @property
    def _read_by_export(self) -> float:
        """The ratio of the tokens that an export and a draft read in the runtime."""
        texts = self.session.texts
        return texts.report.tokens.numel() / texts.search.tokens.shape[1]

    def delete_checkpoints(self, folder: Path) -> None:
        """Delete the checkpoints of a run that has a result; the rename comes first, as a kill may interrupt it."""
        deleted = folder / f"{WORKPLACE}.deleted"
        shutil.rmtree(deleted, ignore_errors=True)
        if (folder / WORKPLACE).exists():
            (folder / WORKPLACE).rename(deleted)
            shutil.rmtree(deleted)

    def export(
        self, final: FinalModel, result: LanguageModelResult, workplace: Path, place: Path, kind: type[ExportFormat]
    ) -> Exported:
        """Recover ``final``, of a finished run, and write it to ``place``; if that did not help, raise Stopped."""
        options: Any = self.asked
        checked_result(final, result)
        self.check()
        kind(final, options).check()  # before minutes of training
        recovered = recover(final, self.baselines, self.settings, self.text, workplace)
        if not recovered.helped:
            shutil.rmtree(workplace)
            row = recovered.rows[EVOLVED]
            before, after = map(plain, row.decided)
            raise Stopped(
                f"the recovery did not help: {criterion(row.curve)} {before} on the held-out windows before, {after} "
                "at best after it; the model stays as it was, and nothing is written"
            )
        final = FinalModel(self.session, final.genome, recovered.weights)
        run = LanguageModelResult.model_validate(_added(result.as_json(), recovered))
        exported = kind(final, options).write(checked_result(final, run), place)
        return replace(exported, summary=[*recovered_lines(recovered.rows), *exported.summary])


def _added(result: Mapping[str, Any], recovered: Recovered) -> Json:
    rows = {name: row.model_dump(mode="json", exclude_unset=True) for name, row in recovered.rows.items()}
    protocol = dict(result["protocol"]) | {"recovery": recovered.protocol}
    return dict(result) | {"recovered": rows, "protocol": protocol}
