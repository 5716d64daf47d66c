"""Settings of a recovery, in a run or by the command ``recover``. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from evoprune import Fraction
from evoprune.problems.language_model.models.settings import Source
from evoprune.problems.language_model.results.recovery import DURATION, RecoverySettings
from evoprune.problems.language_model.results.result import RecoveredRow
from evoprune.problems.language_model.texts.settings import TextSettings, text_fault


class RecoverSettings(RecoverySettings):
    """Knowledge distillation: a smaller model is trained towards the predictions of the dense one."""

    tokens: int | None = Field(None, ge=1, description="tokens to train on (default: 200,000, or by time)")
    time: str | None = Field(
        None, pattern=DURATION, description="how long each model may take, as in 90s, 20m or 2h, in place of tokens"
    )
    text: Source | None = Field(
        None, description="text to train on: see eval --text (default: the rest of the search text)"
    )
    split: str | None = Field(None, description="the hub's or the bundled text's split")
    column: str = Field("text", description="the column that holds the text, in all but .txt")
    window: int | None = Field(None, ge=2, description="tokens in a window (default: as many as the search text's)")
    train: Literal["auto", "all", "lora", "norms", "scales"] = Field(
        "auto",
        description="all: the weights of the blocks; lora: low-rank updates; norms: norms and biases, and matrices in "
        "16 bits beside quantised ones; scales: norms, and scales of quantised matrices; auto: scales if a result has "
        "types and no cuts, else all if memory allows, else lora, or norms if weights were pruned to zeros",
    )
    keep_codes: bool = Field(
        False, description="for scales: do not first round the matrices again with compensated errors (GPTQ)"
    )
    cross_entropy: float | None = Field(
        None,
        ge=0,
        description="weight of the loss on the text itself, added to the divergence from the dense model (default: 0 "
        "for scales, else 0.3); with 0 the held-out divergence chooses the best weights, not the perplexity",
    )
    rate: float | None = Field(
        None,
        gt=0,
        description="highest learning rate (default: 3e-4 for all, else 1e-3; for scales at most 0.003 times the "
        "held-out divergence)",
    )
    batch: int | None = Field(None, ge=1, description="windows in a step (default: 1 if scales are trained, else 4)")
    held_out: int = Field(8, ge=1, description="windows that are not trained on and choose the best weights")
    evaluations: int = Field(8, ge=1, description="number of measurements on the held-out windows")
    schedule: tuple[int, ...] = Field(
        (),
        description="steps of the whole training, as decided before it and after each measurement: a run with a time "
        "writes it into its config.yaml, so that it can be repeated",
    )
    patience: int = Field(3, ge=1, description="stop after so many measurements in a row without improvement")
    alike: str | None = Field(None, description="known solutions to train in the same way, such as dense,uniform")
    seed: int = Field(0, ge=0, description="decides the order of the windows")

    @model_validator(mode="after")
    def _consistent(self) -> RecoverSettings:
        if bool(self.tokens) + bool(self.time) + bool(self.schedule) > 1:
            raise ValueError("tokens, time and schedule each say how long to train; give one of them")
        return self

    @property
    def cross_entropy_weight(self) -> float:
        """``cross_entropy``, or its default."""
        if self.cross_entropy is None:
            return 0.0 if self.train == "scales" else 0.3
        return self.cross_entropy

    @property
    def step_windows(self) -> int:
        """``batch``, or its default."""
        return self.batch or (1 if self.train == "scales" else 4)

    @property
    def trained_alike(self) -> list[str]:
        """The names in ``alike``."""
        return [name.strip() for name in (self.alike or "").split(",") if name.strip()]

    @property
    def text_fault(self) -> str | None:
        return text_fault(TextSettings(source=self.text)) if self.text else None

    def alone(self) -> Self:
        return self.model_copy(update={"alike": None})

    @classmethod
    def settled(cls, keys: Mapping[str, Any], row: RecoveredRow | None) -> Mapping[str, Any] | None:
        if not keys.get("time"):
            return keys
        untimed = {key: value for key, value in keys.items() if key not in {"time", "comparing"}}
        return untimed | {"schedule": list(row.schedule)} if row else None

    def lasting(self, seconds: float) -> Self:
        """Return the settings with a ``time`` of ``seconds``, at least one, if they have a time."""
        return self if self.time is None else self.model_copy(update={"time": f"{max(1.0, seconds):.1f}s"})

    def text_settings(self, search: TextSettings) -> TextSettings:
        """Return the text to train on: ``text``, by default that of the ``search``."""
        window = self.window or search.window
        if self.text is not None:
            return TextSettings(
                source=self.text, split=self.split, column=self.column, window=window, windows=None, begin=search.begin
            )
        return search.model_copy(update={"window": window, "windows": None, "sampling": "first"})


class RecoverPhaseSettings(RecoverSettings):
    """A recovery as the last part of a run."""

    part: tuple[Fraction, Fraction] | None = Field(
        None, description="the part of text to train on, as two shares of its characters: see search_text"
    )
    comparing: float = Field(
        0.0, ge=0, description="with a time: seconds to leave for a file to compare the result with, besides its check"
    )
    least: int = Field(512, ge=1, description="with a time: train nothing where it is too short for so many tokens")

    def text_settings(self, search: TextSettings) -> TextSettings:
        return super().text_settings(search).model_copy(update={"part": self.part} if self.part else {})
