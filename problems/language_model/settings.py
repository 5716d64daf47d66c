"""The parameters, as in a YAML file, that problems on a language model share. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from evoprune import Fraction, InputError, Settings, check_plugin
from problems.language_model.text import apart

BUNDLED_MODEL = "bundled:gpt2-mini"
BUNDLED_TEXT = "bundled:python-docs"
LOCAL_TEXT_SUFFIXES = (".txt", ".jsonl", ".parquet")
HUB_SPLIT = "test"
"""The split of a hub text if the settings give none."""

TRANSFORMS, BUDGETS, FORMATS = "evoprune.transforms", "evoprune.budgets", "evoprune.export_formats"
"""Groups of entry points. A format is called as the suffix of its files."""

Sampling = Literal["first", "random", "clusters"]

Begin = bool | Literal["auto"]

CALIBRATION_TOKENS = 16_384
"""The tokens of the search text that calibrate by default: 32 windows of 512."""


def _absolute_if_local(source: str) -> str:
    """A path that exists becomes absolute, so that a stored experiment works from any folder."""
    try:
        path = Path(source).expanduser()
        return str(path.resolve()) if path.exists() else source
    except (OSError, RuntimeError) as error:  # the name is too long, or its home folder is unknown
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


DURATION = r"^\d+(\.\d+)?[smh]$"
"""The form of a time, as in 90s, 20m or 2h."""


def seconds_of(duration: str) -> float:
    """The seconds of a time of the form :data:`DURATION`."""
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def registered(group: str, *others: str) -> AfterValidator:
    """Checks a name of ``group``, or one of ``others``, without importing what it names, which may need torch."""

    def check(name: str) -> str:
        try:
            if name not in others:
                check_plugin(group, name)
        except InputError as error:
            raise ValueError(str(error)) from None
        return name

    return AfterValidator(check)


Source = Annotated[str, Field(min_length=1), AfterValidator(_absolute_if_local)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


class TextSettings(Settings):
    """Where a text comes from, and how much of it is scored."""

    source: Source = Field(description="hub id, a .txt, .jsonl or .parquet file, or bundled:python-docs")
    subset: str | None = Field(None, description="the hub data set's configuration, such as wikitext-2-raw-v1")
    split: str | None = Field(None, description="the hub's or the bundled text's split; null is the hub's test")
    column: str = Field("text", description="the column that holds the text, in all but .txt")
    part: tuple[Fraction, Fraction] | None = Field(
        None, description="from which to which share of the text, as in [0, 0.6], cut between words; null is all of it"
    )
    window: int = Field(512, ge=2, description="tokens in a window; windows do not overlap")
    windows: int | None = Field(8, ge=1, description="number of windows; null is all of the text")
    sampling: Sampling = Field(
        "first", description="which windows: the first, random ones, or the most typical one of each cluster of windows"
    )
    sampling_seed: int = Field(0, ge=0, description="seed of random and clusters")
    begin: Begin = Field(
        "auto",
        description="begin each window with the tokenizer's first token (<s>); auto: where it adds it by itself",
    )

    @model_validator(mode="after")
    def _rises(self) -> TextSettings:
        if self.part and self.part[0] >= self.part[1]:
            raise ValueError(f"part is {list(self.part)}: expected two shares that rise, such as [0, 0.6]")
        return self

    @property
    def is_bundled(self) -> bool:
        """Whether the source names a text that comes with evoprune."""
        return self.source.startswith("bundled:")

    @property
    def is_local(self) -> bool:
        """Whether the source is a path on this machine, and not on the hub."""
        path = Path(self.source)
        return not self.is_bundled and (path.suffix in LOCAL_TEXT_SUFFIXES or path.exists())

    @property
    def identity(self) -> tuple[str | None, ...]:
        """Identifies the text: settings with the same identity read the same text."""
        return (*self.whole_identity, str(self.part) if self.part else None)

    @property
    def whole_identity(self) -> tuple[str | None, ...]:
        """Identifies what :attr:`part` is a part of."""
        if self.is_local:
            path = Path(self.source).resolve()
            return (str(path), None if path.suffix == ".txt" else self.column)
        if self.is_bundled:
            return (self.source, self.split)
        return (self.source, self.subset, self.split or HUB_SPLIT, self.column)


BUNDLED_REPORT_TEXT = TextSettings(source=BUNDLED_TEXT, split="test", window=256, windows=None)


class ModelSettings(Settings):
    """Which model is loaded, and in which format."""

    model: Source = Field(BUNDLED_MODEL, description="hub id, local folder, .gguf file, or bundled:gpt2-mini")
    revision: str | None = Field(None, description="branch, tag or commit of a model on the hub")
    trust_remote_code: bool = Field(False, description="run model code from the hub")
    device: Device = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format; auto is bfloat16 if the device is fast at it, else float32"
    )


class RecoverSettings(Settings):
    """How a smaller model is recovered: trained to predict what its dense model predicts."""

    tokens: int | None = Field(None, ge=1, description="tokens to train on (default: 200,000, or what time allows)")
    time: str | None = Field(
        None,
        pattern=DURATION,
        description="how long each model may take, as in 90s, 20m or 2h: the speed of two steps turns it into tokens",
    )
    text: Source | None = Field(
        None, description="text to train on: see eval --text (default: what the search left of its text)"
    )
    split: str | None = Field(None, description="the hub's or the bundled text's split")
    column: str = Field("text", description="the column that holds the text, in all but .txt")
    window: int | None = Field(None, ge=2, description="tokens in a window (default: as many as the search text's)")
    train: Literal["auto", "all", "lora", "norms"] = Field(
        "auto",
        description="what is trained; all: the weights of the blocks; lora: low-rank updates of them; norms: norms and "
        "biases alone, and all that is in 16 bits beside quantised matrices; auto: all if the memory is enough, else "
        "lora, or norms if weights were pruned to zeros",
    )
    cross_entropy: float = Field(
        0.3,
        ge=0,
        description="weight of the loss on the text itself, beside the divergence from the dense model; with 0 "
        "divergence on the held-out windows chooses the best weights, not perplexity",
    )
    hidden: float = Field(
        0.0,
        ge=0,
        description="weight of the difference from the dense model's hidden states after each block that is left",
    )
    rate: float | None = Field(
        None, gt=0, description="highest learning rate (default: 3e-4 for all weights, 1e-3 for the others)"
    )
    batch: int = Field(4, ge=1, description="windows in a step")
    accumulate: int = Field(1, ge=1, description="passes that a step is divided into; more need less memory")
    checkpointing: bool = Field(False, description="compute activations twice instead of keeping them")
    held_out: int = Field(
        8, ge=1, description="windows of the text that are not trained on and choose the best weights"
    )
    evaluations: int = Field(8, ge=1, description="how often these are measured")
    patience: int = Field(
        3, ge=1, description="stop after this many measurements in a row without improvement over the one before"
    )
    alike: str | None = Field(
        None, description="known solutions to train in the same way, to compare with: dense, uniform, or dense,uniform"
    )
    seed: int = Field(0, ge=0, description="decides the order of the windows")

    @model_validator(mode="after")
    def _consistent(self) -> RecoverSettings:
        if self.tokens and self.time:
            raise ValueError("tokens and time both say how long to train; give one of them")
        if self.batch % self.accumulate:
            raise ValueError(f"batch: expected a multiple of accumulate, which is {self.accumulate}")
        return self

    @property
    def trained_alike(self) -> list[str]:
        """The names in ``alike``."""
        return [name.strip() for name in (self.alike or "").split(",") if name.strip()]


class SelectSettings(Settings):
    """The finals of a search whose result is recovered: its best candidates are judged once more."""

    finalists: int = Field(4, ge=1, description="how many of the best candidates")
    tokens: int = Field(
        4096,
        ge=0,
        description="tokens that each is trained on before it is measured on the held-out windows of the recovery; "
        "0: it is only compensated or updated, as the transform says",
    )


class RecoverPhaseSettings(RecoverSettings):
    """A recovery as the last part of a run."""

    select: SelectSettings | None = Field(
        None, description="judge the best candidates by a short recovery, and recover the best of them; null: do not"
    )


class LanguageModelSettings(ModelSettings):
    """Parameters of every problem on a language model: the model, the texts, and what is measured on them."""

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
    objective: Literal["perplexity", "kl"] = Field(
        "perplexity", description="fitness: perplexity, or divergence from the dense model"
    )
    kl_top: int = Field(64, ge=1, description="number of the dense model's probabilities that kl keeps for each token")
    batch_tokens: int | None = Field(
        None, ge=1, description="tokens in one forward pass, at least one window; null: as the memory allows"
    )
    reuse_mib: int = Field(512, ge=0, description="MiB for hidden states that related candidates reuse; 0 is none")
    compile: bool = Field(False, description="torch.compile the blocks: faster in long searches, needs a compiler")
    recover: RecoverPhaseSettings | None = Field(
        None, description="train the result to predict what the dense model predicts; null: the search is all"
    )

    @model_validator(mode="after")
    def _texts_apart(self) -> LanguageModelSettings:
        if fault := apart.fault(self.search_text, self.report_text, self.calibration_text):
            raise ValueError(fault)
        return self

    @property
    def objective_label(self) -> str:
        """The name of the objective in figures, with its unit and text."""
        return {"perplexity": "perplexity", "kl": "KL from dense, nats a token"}[self.objective] + " (search text)"

    @property
    def calibration(self) -> TextSettings:
        """The calibration text; by default ``CALIBRATION_TOKENS`` of the search text."""
        if self.calibration_text:
            return self.calibration_text
        windows = max(1, CALIBRATION_TOKENS // self.search_text.window)
        return self.search_text.model_copy(update={"windows": windows})
