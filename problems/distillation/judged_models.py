"""What held-out windows decide: when a search stops, and which of its finalists and of the known solutions wins."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from evoprune import Evaluation, Finals, HeldOut
from problems.distillation.settings import SelectSettings

if TYPE_CHECKING:  # it imports torch, which checking an experiment does not need
    from problems.distillation.text import RecoveryText
    from problems.evaluation.session import Session


class JudgedModels(HeldOut, Finals):
    """The part of a problem on a language model that judges what was scored.

    The result is the best of the search's own, the uniform model and other known solutions, in the form that is
    exported, on windows of the search text that the search does not see. With ``problem.recover.select`` they are
    judged by a short recovery instead, with more of the search's best.
    """

    settings: Any
    session: Session

    def held_out_value(self, genome: Sequence[float]) -> float | None:
        """The perplexity on the held-out windows; None if there are none."""
        held_out = self.session.texts.held_out
        return self.session.fitness.perplexity(genome, held_out.tokens) if held_out else None

    @property
    def finalists(self) -> int:
        """One, where there are held-out windows and a known solution to compare it with; or as ``select`` says."""
        if self._select:
            return self._select.finalists
        return int(bool(self.contenders) and self.session.texts.held_out is not None)

    @property
    def judging_cost(self) -> float:
        """With ``select`` the tokens scored, and four for each token that is trained on.

        Without it nothing: as for early stopping, a budget does not count what is measured on held-out windows.
        """
        if not self._select:
            return 0.0
        from problems.distillation.finals import cost

        return cost(self.settings)

    def judge(self, genome: Sequence[float]) -> Evaluation:
        """The perplexity of the final model of ``genome`` on the held-out windows.

        With updated weights if the transform updates them; with ``select`` as
        :func:`problems.distillation.finals.judge` says.
        """
        if self._select:
            from problems.distillation.finals import judge

            return judge(self.session, self.settings, self.recovery_text, genome)
        held_out = self.session.texts.held_out
        assert held_out is not None
        return Evaluation((self.session.final_perplexity(genome, held_out.tokens),), work=0.0)

    @cached_property
    def recovery_text(self) -> RecoveryText:
        """The text of ``problem.recover``, which must be given; the report text is not read."""
        from problems.distillation.text import recovery_text

        session = self.session
        return recovery_text(self.settings.recover, session.resident, session.texts.search, self.settings.report_text)

    @property
    def _select(self) -> SelectSettings | None:
        recover = self.settings.recover
        return recover.select if recover else None
