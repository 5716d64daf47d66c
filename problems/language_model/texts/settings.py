"""Settings of the texts of a run. Imports no torch."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from evoprune import Fraction, Settings
from evoprune.problems.language_model.models.settings import Source

BUNDLED_TEXT = "bundled:python-docs"
LOCAL_TEXT_SUFFIXES = (".txt", ".jsonl", ".parquet")
HUB_SPLIT = "test"  # if the settings give none
CALIBRATION_TOKENS = 16_384  # of the search text, by default: 32 windows of 512

Begin = bool | Literal["auto"]


class TextSettings(Settings):
    """The source of a text, and how much of it is scored."""

    source: Source = Field(
        description="hub id, a .txt, .jsonl or .parquet file, or bundled:python-docs; of lines with prompt and answer, "
        "prompt, choices and answer, or messages, in a .jsonl file, only the answers count"
    )
    subset: str | None = Field(None, description="the hub data set's configuration, such as wikitext-2-raw-v1")
    split: str | None = Field(None, description="the hub's or the bundled text's split; null is the hub's test")
    column: str = Field("text", description="the column that holds the text, in all but .txt")
    part: tuple[Fraction, Fraction] | None = Field(
        None, description="from which to which share of the text, as in [0, 0.6], cut between words; null is all of it"
    )
    window: int = Field(512, ge=2, description="tokens in a window; windows do not overlap")
    windows: int | None = Field(8, ge=1, description="number of windows; null is all of the text")
    sampling: Literal["first", "random"] = Field("first", description="which windows: the first, or random ones")
    sampling_seed: int = Field(0, ge=0, description="seed of random")
    begin: Begin = Field(
        "auto", description="begin each window with the tokenizer's first token (<s>); auto: where it adds it by itself"
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.part and self.part[0] >= self.part[1]:
            raise ValueError(f"part is {list(self.part)}: expected two shares that rise, such as [0, 0.6]")
        return self

    @property
    def is_bundled(self) -> bool:
        return self.source.startswith("bundled:")

    @property
    def is_local(self) -> bool:
        path = Path(self.source)
        return not self.is_bundled and (path.suffix in LOCAL_TEXT_SUFFIXES or path.exists())

    @property
    def identity(self) -> tuple[str | None, ...]:
        """Identifies the text: settings with the same identity read the same text."""
        return (*self.whole_identity, str(self.part) if self.part else None)

    @property
    def whole_identity(self) -> tuple[str | None, ...]:
        """Identifies the text without :attr:`part`."""
        if self.is_local:
            path = Path(self.source).resolve()
            return (str(path), None if path.suffix == ".txt" else self.column)
        if self.is_bundled:
            return (self.source, self.split)
        return (self.source, self.subset, self.split or HUB_SPLIT, self.column)


BUNDLED_REPORT_TEXT = TextSettings(source=BUNDLED_TEXT, split="test", window=256, windows=None)


class TextsSettings(Settings):
    """The texts of a run by their roles."""

    search_text: TextSettings = Field(
        TextSettings(source=BUNDLED_TEXT, split="validation", window=256, windows=16),
        description="the text that candidates are scored on",
    )
    held_out_windows: int = Field(
        8, ge=0, description="windows of the search text's source, unseen by the search, that measure overfitting"
    )
    report_text: TextSettings = Field(BUNDLED_REPORT_TEXT, description="the text that scores the result")
    calibration_text: TextSettings | None = Field(
        None, description="the text for scores' statistics and reconstruction; null: 16,384 tokens of the search text"
    )

    second_text: tuple[TextSettings, ...] = Field(
        (), description="another text, or a list of texts, that the result is measured on, as in another language"
    )

    @field_validator(
        "second_text", mode="before", json_schema_input_type=TextSettings | tuple[TextSettings, ...] | None
    )
    @classmethod
    def _any_number(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [] if value is None else [value]

    @model_validator(mode="after")
    def _texts_apart(self) -> Self:
        search, report, calibration = self.search_text, self.report_text, self.calibration_text
        if overlap(search, report):
            remedy = "give another, or parts of it: part: [0, 0.7] and part: [0.7, 1]"
            raise ValueError(f"search_text and report_text are the same text, which may not score its result; {remedy}")
        if report.sampling != "first":
            raise ValueError("report_text.sampling: expected first, as results are compared on the first windows")
        if calibration and overlap(calibration, report):
            raise ValueError("calibration_text and report_text are the same text; use another text for one of them")
        if calibration and overlap(calibration, search) and calibration.identity != search.identity:
            raise ValueError("calibration_text and search_text overlap; give both the same part, or parts apart")
        return self

    @property
    def calibration(self) -> TextSettings:
        if self.calibration_text:
            return self.calibration_text
        windows = max(1, CALIBRATION_TOKENS // self.search_text.window)
        return self.search_text.model_copy(update={"windows": windows})


def overlap(one: TextSettings, other: TextSettings) -> bool:
    """Tell whether both settings read some of the same text."""
    (begin, end), (others_begin, others_end) = one.part or (0, 1), other.part or (0, 1)
    return one.whole_identity == other.whole_identity and begin < others_end and others_begin < end


def text_fault(text: TextSettings) -> str | None:
    """Return the fault of the path of a text; None if there is none, or the text is bundled or on the hub."""
    path = Path(text.source)
    if not text.is_local:
        return None
    if path.suffix not in LOCAL_TEXT_SUFFIXES:
        return f"{path}: expected a file that ends in {', '.join(LOCAL_TEXT_SUFFIXES)}"
    return None if path.is_file() else f"{path}: no such file"
