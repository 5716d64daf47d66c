"""The options of the command ``prune``. Imports no torch."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from evoprune import Settings
from evoprune.plugins import SEEDS
from evoprune.problems.language_model.models.settings import Source
from evoprune.problems.language_model.results.recovery import seconds_of
from evoprune.problems.language_model.texts.settings import TextSettings, text_fault
from evoprune.problems.language_model.texts.tasks import KINDS, is_task, task_fault

_DURATION = r"^\d{1,5}(\.\d+)?[smh]$"
_QUICK = 60.0  # seconds


class PruneOptions(Settings):
    """The options that name no goal, and ``vocabulary``, which may be one."""

    text: Source | None = Field(None, description="a .txt, .jsonl or .parquet file (default: Python's documentation)")
    task: Source | None = Field(
        None, description="in place of --text: a .jsonl file of prompts and answers, or messages; answers alone count"
    )
    also: tuple[Source, ...] = Field((), description="another text to measure the result on; may be repeated")
    vocabulary: Source | None = Field(
        None, description="leave out tokens that a text like this one does not need: others are read worse then"
    )
    time: str = Field("20m", pattern=_DURATION, description="how long it may take, as in 90s, 20m or 2h")
    quick: bool = Field(False, description="a minute, or as much more as this model needs: the shortest --time")
    seed: int = Field(0, ge=0, lt=SEEDS, description="of the search")

    @field_validator("text", "task", "also", "vocabulary")
    @classmethod
    def _sound(cls, value: Any, info: ValidationInfo) -> Any:
        for text in value if isinstance(value, tuple) else filter(None, [value]):
            if fault := _text_fault(TextSettings(source=text), str(info.field_name)):
                raise ValueError(fault)
        return value

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for one, other in (("text", "task"), ("task", "vocabulary"), ("time", "quick")):
            if {one, other} <= self.model_fields_set:
                raise ValueError(f"give one of --{one} and --{other}")
        if self.vocabulary and any(is_task(TextSettings(source=text)) for text in self.also):
            raise ValueError("--also: a task file must keep its tokens: leave out --vocabulary, or give a plain text")
        return self

    @property
    def seconds(self) -> float:
        """The time that it may take."""
        return _QUICK if self.quick else seconds_of(self.time)

    @property
    def texts(self) -> list[str]:
        """The options that name the text, as on a command line."""
        options = {"--text": self.text, "--task": self.task}
        return [part for option, file in options.items() if file for part in (option, file)]

    @property
    def main_text(self) -> tuple[str, str | None]:
        """The option that names the text that is divided, and the text, None for the bundled one."""
        given = {"--task": self.task, "--text": self.text, "--vocabulary": self.vocabulary}
        return next(((option, text) for option, text in given.items() if text), ("--text", None))


def _text_fault(settings: TextSettings, option: str) -> str | None:
    """Return the fault of the text of ``option``; None for a sound one."""
    if not (settings.is_local or settings.is_bundled):
        return f"{settings.source}: no such file; expected a .txt, .jsonl or .parquet file"
    if option == "task" and text_fault(settings) is None and not is_task(settings):
        return f"{settings.source}: expected a .jsonl file with {', or '.join(KINDS.values())}"
    if option == "text" and is_task(settings):
        return f"{settings.source} is a task file: expected it after --task"
    return text_fault(settings) or task_fault(settings)
