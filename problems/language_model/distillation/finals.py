"""The finals of a search: its best candidates and the known solutions are judged on held-out windows. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from evoprune import Evaluation, Finals, HeldOut, InputError
from evoprune.files.json_files import finite
from evoprune.problems.language_model.distillation.settings import RecoverPhaseSettings, SelectSettings
from evoprune.problems.language_model.evaluation.harness import task_errors
from evoprune.problems.language_model.texts.settings import TextSettings

if TYPE_CHECKING:  # these import torch, which checking an experiment does not need
    from evoprune.problems.language_model.distillation.text import RecoveryText
    from evoprune.problems.language_model.evaluation.session import Session

_TASKS = "problem.recover.select.tasks"  # the key

_TRAINED = 4  # cost of a trained token in scored ones: 8 x parameters operations, with those of the dense model, to 2


class JudgedModels(HeldOut, Finals):
    """The part of a problem on a language model that decides when the search stops, and which model is its result.

    The result is the best of the search's own, the uniform model and other known solutions, in the form that is
    exported, on windows of the search text that the search does not see. With ``problem.recover.select`` they are
    judged by a short recovery instead, with more of the search's best.
    """

    settings: Any
    session: Session

    def held_out_value(self, genome: Sequence[float]) -> float | None:
        """The objective on the held-out windows, if there are any."""
        if (held_out := self.session.texts.held_out) is None:
            return None
        return self.session.fitness.judge(genome, held_out, partial(self.session.transform.apply, genome))

    @property
    def finalists(self) -> int:
        """One, where there are held-out windows and a known solution to compare it with; or as ``select`` says."""
        if self._select:
            return self._select.finalists
        return int(bool(self.contenders) and self.session.texts.held_out is not None)

    @property
    def judged_by(self) -> str:
        """The quantity of :meth:`judge`, in words."""
        if self._select and self._select.tasks:
            return f"errors at {self._select.tasks}"
        if self._select and self.recovery:
            by_divergence = not self.recovery.cross_entropy_weight
        else:
            by_divergence = self.settings.objective == "kl"
        return f"{'divergence' if by_divergence else 'perplexity'} on held-out windows"

    @property
    def judging_cost(self) -> float:
        """With ``select`` the tokens scored, and four for each token that is trained on; else nothing.

        A budget does not count measurements on held-out windows, as for early stopping.
        """
        if not self.recovery or not self._select:
            return 0.0
        return cost(self.recovery, self._select, self.settings.search_text)

    def judge(self, genome: Sequence[float]) -> Evaluation:
        """The objective for the final model of ``genome`` on the held-out windows; the session's is dense afterwards.

        With ``select`` the criterion of a recovery on its own held-out windows, after training as briefly as
        ``select`` says, or not at all; ``held_out_before``: the same before. With its ``tasks`` their errors instead.
        """
        from evoprune.problems.language_model.results.final_model import FinalModel

        final, resident = FinalModel(self.session, genome), self.session.resident
        violation, _ = self.session.fitness.violation(genome)
        if not self.recovery or not self._select:
            assert self.session.texts.held_out is not None
            value = self.session.fitness.judge(genome, self.session.texts.held_out, final.reside)
            self.session.transform.apply(self.session.transform.dense)
            return Evaluation((value,), work=0.0, violation=violation)
        from evoprune.problems.language_model.distillation.recover import criterion_after
        from evoprune.problems.language_model.models.device import release_memory

        try:
            errors = self._errors if self._select.tasks else None
            before, after = criterion_after(final, self.recovery, self.recovery_text, self._select.tokens, errors)
        finally:
            release_memory(resident.device)  # else the next one finds less memory
        return Evaluation((after,), self.judging_cost, {"held_out_before": finite(before)}, violation=violation)

    @property
    def loses_tokens(self) -> bool:
        """True if the tokenizer of a candidate may have fewer tokens."""
        transform = self.session.transform
        ends = ([gene.low for gene in transform.genes], [gene.up for gene in transform.genes])
        return any(transform.remaining_tokens(genome) is not None for genome in ends)

    def check_tasks(self) -> None:
        """Raise :class:`evoprune.InputError` for tasks that cannot judge, by an example of each for the dense model."""
        if not self._select or not self._select.tasks:
            return
        if self.loses_tokens:
            raise InputError("tasks are read with all tokens: give no tasks, or no transform vocabulary", _TASKS)
        self._errors(self.session.resident.model, limit=1)

    def _errors(self, model: Any, limit: int | None = None) -> float:
        assert self._select
        begin = self.recovery_text.whole.begin is not None
        asked = self._select.model_copy(update={"limit": limit}) if limit else self._select
        return task_errors(model, self.session.resident.tokenizer, asked, begin, _TASKS)

    @cached_property
    def recovery_text(self) -> RecoveryText:
        """The text of ``problem.recover``, which must be given, without windows that hold passages of the report."""
        from evoprune.problems.language_model.distillation.text import recovery_text

        return recovery_text(self.settings.recover, self.session)

    @cached_property
    def recovery(self) -> RecoverPhaseSettings | None:
        """``problem.recover``, in which the trained parameters are decided as far as the transform decides them."""
        from evoprune.problems.language_model.distillation.recover import decided

        recover: RecoverPhaseSettings | None = self.settings.recover
        return decided(recover, self.session.transform) if recover else None

    @property
    def _select(self) -> SelectSettings | None:
        return self.recovery.select if self.recovery else None


def cost(recover: RecoverPhaseSettings, select: SelectSettings, search_text: TextSettings) -> float:
    """Cost of judging one finalist by a short recovery, in scored tokens."""
    window = recover.text_settings(search_text).window
    step = recover.step_windows * window
    trained = math.ceil(select.tokens / step) * step
    passes = (2 if trained else 1) + (0 if recover.cross_entropy_weight else 1)  # one of the dense model
    return float(_TRAINED * trained + passes * recover.held_out * window)
