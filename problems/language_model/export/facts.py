"""The typed facts of an export, ``evoprune.json``: its files, checks and times, and keys of the result."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from pydantic import Field

from evoprune import InputError
from evoprune.plugins import check_parameters, digits
from evoprune.problems.language_model.results.result import Pair, ResultFacts, ResultPart, Shares


class Sparsity(Shares):
    """Zeros counted in the export. ``denominators``: number of weights of each share."""

    denominators: Mapping[str, int]


_ERRORS = 3  # standard errors by which means may differ


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


class Check(FileScores):
    """Measurements of the export in another process, in nats a token.

    ``tolerance``: of :attr:`fault`. ``loss_error``: standard error of the mean difference of losses.
    ``runtime_divergence``: of llama.cpp from PyTorch on the same model, with its standard ``runtime_error``.
    """

    run_perplexity: float | None = None
    tolerance: float
    loss_error: float | None = 0.0
    runtime_divergence: float | None = 0.0
    runtime_error: float | None = 0.0
    failure: str | None = None
    run_divergence: float | None = None
    kl_top: int | None = None
    first_other_token: int | None = None
    """Index of the first token of the report text that llama.cpp's tokenizer reads differently from transformers'."""

    @property
    def difference(self) -> float | None:
        """Loss behind the run's, in nats a token; None if either is infinite."""
        perplexity, expected = self.perplexity, self.run_perplexity
        return math.log(perplexity / expected) if perplexity and expected else None

    @property
    def fault(self) -> str | None:
        """The difference between export and run, in words; None if the export is the model of the run.

        It is, if the difference of losses and the divergence between the runtimes are at most the tolerance and three
        standard errors.
        """
        if self.failure:
            return self.failure
        measured = (self.difference, self.loss_error), (self.runtime_divergence, self.runtime_error)
        if all(
            mean is not None and error is not None and abs(mean) <= self.tolerance + _ERRORS * error
            for mean, error in measured
        ):
            return None
        perplexity, expected = digits(self.perplexity), digits(self.run_perplexity)
        return f"perplexity {perplexity}, but the run's is {expected}: {self.measurements}"

    @property
    def measurements(self) -> str:
        """The measurements for :attr:`fault`, and the limit, in words."""
        words = f"loss {digits(self.difference, 3)} ± {digits(self.loss_error, 2)} nats a token from the run's"
        if self.runtime_divergence != 0:
            mean = f"{digits(self.runtime_divergence, 3)} ± {digits(self.runtime_error, 2)}"
            words += f", predictions {mean} from PyTorch's"
        return f"{words} (at most {digits(self.tolerance, 2)} and three standard errors)"


class Runtime(ResultPart):
    """Speeds in tokens a second, bytes and seconds of the dense model and of the export, and the machine.

    For a .gguf file, ``dense`` is :attr:`ExportFacts.source`.
    """

    prefill: Pair
    decode: Pair
    file_bytes: Pair
    peak_bytes: Pair | None = None
    length: int
    threads: int
    processor: str
    dtype: str | None = None

    @property
    def machine(self) -> str:
        return f"{self.processor}, {self.threads} thread{'s' * (self.threads > 1)}"


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


class ExportFacts(ResultFacts):
    """The facts of an export, a folder or a file. ``types``, ``kinds``: numbers of matrices and tensors by type."""

    base_model: str
    bytes: int = Field(ge=1)
    transform: Mapping[str, Any] = {}
    sparsity: Sparsity
    check: Check
    source: ComparedFile | None = None
    """The source of the model, if it is a .gguf file; otherwise the dense model in 16 bits."""
    preset: ComparedFile | None = None
    """llama.cpp's preset of the dense model nearest in size."""
    no_preset: str | None = None
    """Reason why it is missing."""
    runtime: Runtime | None = None
    memory: Memory | None = None
    seed: int | None = None
    evaluations: int = 0
    dtype: str | None = None
    ragged: bool = False
    types: Mapping[str, int] = {}
    kinds: Mapping[str, int] = {}
    matrices: Mapping[str, StoredMatrix] = {}
    recipe: str | None = None
    """Command of llama.cpp that gives another model the same types."""
    architecture: str | None = None
    bits_per_weight: float | None = None

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Self:
        """Raise :class:`evoprune.InputError` for facts that do not fit."""
        checked = check_parameters(cls, facts, "")
        assert isinstance(checked, cls)
        return checked

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
