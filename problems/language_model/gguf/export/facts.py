"""The typed facts of an exported .gguf file: its scores in llama.cpp, and other files that it is compared with."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from evoprune import InputError
from evoprune.plugins import digits
from evoprune.problems.language_model.export.facts import Check, ExportFacts
from evoprune.problems.language_model.results.result import ResultPart
from evoprune.problems.language_model.results.summary import loss_phrase

BASELINE = "llama-quantize with the same importance"  # the file that an export is compared with

FILE_LABELS = {
    "bits_per_byte": "bits per byte",
    "divergence": "divergence, nats a token",
    "error": "divergence, standard error, nats",
    "median": "divergence, median, nats",
    "p99": "divergence, 99%, nats",
    "p999": "divergence, 99.9%, nats",
    "largest": "divergence, largest, nats",
    "same_top": "same top token",
    "same_top_error": "same top token, standard error",
    "probability_change": "probability change",
    "bits_behind": "bits per byte behind the source",
    "bits_behind_error": "bits per byte behind, standard error",
    "perplexity_ratio": "perplexity ratio",
    "perplexity_ratio_error": "perplexity ratio, standard error",
    "became_wrong": "answers that became wrong",
    "became_right": "answers that became right",
    "mcnemar_p": "p of McNemar's test",
    "compares": "compares",
    "compared_with": "compared with",
}
"""Labels of a file's scores against its source: divergences are in nats a token."""


class Predictions(ResultPart):
    """A file's predictions in llama.cpp against the dense model's in PyTorch, over the tokens of the report text.

    ``error``: standard error of the mean divergence; ``median`` to ``largest``: quantiles of the divergence.
    ``same_top``: share of tokens with the same likeliest one; ``probability_change``: root mean square change of the
    right token's probability; ``behind``: mean loss behind the dense model, in nats a token. As in llama.cpp's
    ``llama-perplexity --kl-divergence``.
    """

    error: float
    median: float
    p99: float
    p999: float
    largest: float
    same_top: float
    same_top_error: float
    probability_change: float
    behind: float
    behind_error: float

    @property
    def cells(self) -> list[str]:
        """The cells of :data:`COLUMNS`."""
        ratio = math.exp(self.behind)
        return [
            *(digits(each, 3) for each in (self.median, self.p99, self.p999, self.largest)),
            f"{self.same_top:.1%} ± {self.same_top_error:.1%}",
            f"{self.probability_change:.2%}",
            f"{ratio:.4g} ± {digits(ratio * self.behind_error, 2)}",
        ]


COLUMNS = ("median", "99%", "99.9%", "largest", "same top token", "probability change", "perplexity ratio")


class LossGap(NamedTuple):
    """Loss of a file behind the dense model, in bits per byte, with its standard error; ``same_top``: as above."""

    bits: float
    error: float
    same_top: float

    def words(self, tokens: int, divergence: float | None) -> list[str]:
        """Return loss, ``divergence`` and same top token, on so many ``tokens``, for a verdict."""
        return [
            f"{loss_phrase(self.bits, self.error)} on {tokens:,} tokens",
            f"divergence {digits(divergence, 3)} nats a token",
            self.same_top_words,
        ]

    @property
    def same_top_words(self) -> str:
        return f"the same top token {self.same_top:.1%} of the time"


class FileScores(ResultPart):
    """Scores of a .gguf file on the report text in llama.cpp; ``divergence``: from the dense model."""

    perplexity: float | None = None
    bits_per_byte: float | None = None
    divergence: float | None = None
    predictions: Predictions | None = None

    @property
    def loss_gap(self) -> LossGap | None:
        """The loss behind the dense model on the same tokens; None if a loss is infinite."""
        predictions = self.predictions
        if not predictions or not self.perplexity or self.bits_per_byte is None:
            return None
        unit = self.bits_per_byte / math.log(self.perplexity)
        return LossGap(unit * predictions.behind, unit * predictions.behind_error, predictions.same_top)


class FileCheck(FileScores, Check):
    """Measurements of the exported file in llama.cpp."""

    run_divergence: float | None = None
    kl_top: int | None = None
    first_other_token: int | None = None
    """Index of the first token of the report text that llama.cpp's tokenizer reads differently from transformers'."""


class Memory(ResultPart):
    """Memory of a .gguf file in llama.cpp with a ``context`` of tokens, in bytes, as llama.cpp estimates it.

    ``cache``: keys and values, in the type ``kv``; ``buffers``: of computations; ``process``: vocabulary and the like.
    ``fits``: the limit, if any.
    """

    context: int
    kv: str
    weights: int
    cache: int
    buffers: int
    process: int
    fits: int | None = None

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.buffers + self.process


class StoredMatrix(ResultPart):
    """A matrix in a .gguf file; ``bits``: per weight."""

    type: str
    rows: int
    width: int
    bits: float


class ComparedFile(FileScores):
    """A file to compare the export with, on the same text. ``speed``: of the export relative to it, if timed."""

    name: str
    bytes: int
    speed: float | None = None


class GgufFacts(ExportFacts):
    """The facts of a .gguf file. ``kinds``: numbers of tensors by type. ``runtime``: ``dense`` is the ``source``."""

    check: FileCheck
    source: ComparedFile | None = None
    """The source of the model, if it is a .gguf file; otherwise the dense model in 16 bits."""
    preset: ComparedFile | None = None
    """A file of the dense model by llama-quantize, in as many bytes if that is possible."""
    no_preset: str | None = None
    """Reason why it is missing."""
    memory: Memory | None = None
    kinds: Mapping[str, int] = {}
    matrices: Mapping[str, StoredMatrix] = {}
    recipe: str | None = None
    """Command of llama.cpp that gives another model the same types."""
    architecture: str | None = None
    bits_per_weight: float | None = None

    def compared(self) -> tuple[Mapping[str, float], str]:
        """Return divergence, bytes and times for the command ``front``, by label, and the data that they hold for."""
        check, text, weights = self.check, self.protocol.report_text, self.protocol.weights_sha256
        if check.divergence is None:
            raise InputError("states no check.divergence; expected what 'export RUN_DIR OUT.gguf' writes")
        values = {"divergence from dense, nats a token": check.divergence, "bytes of the file": float(self.bytes)}
        if timed := self.runtime:  # timed in turn, so that ratios hardly depend on other loads
            for name, pair in {"generating": timed.decode, "the prompt": timed.prefill}.items():
                values[f"time of {name}, share of the source file's"] = pair.dense / pair.evolved
        return values, (
            f"{self.base_model} (weights {weights[:8]}), {text.windows} windows of {text.window} tokens "
            f"of {text.name} ({text.sha256[:8]}), divergence of the {check.kl_top} likeliest tokens and the rest"
        )
