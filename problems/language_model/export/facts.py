"""The typed facts of an export, ``evoprune.json``: its files, checks and times, and keys of the result."""

import math
from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field

from evoprune import InputError
from evoprune.plugins import check_parameters, digits
from evoprune.problems.language_model.results.result import Pair, ResultFacts, ResultPart, Shares


class Sparsity(Shares):
    """Zeros counted in the export. ``denominators``: number of weights of each share."""

    denominators: Mapping[str, int]


_ERRORS = 3  # standard errors by which means may differ


class Check(ResultPart):
    """Measurements of the export in another process, in nats a token.

    ``tolerance``: of :attr:`fault`. ``loss_error``: standard error of the mean difference of losses.
    ``runtime_divergence``: of the program that reads the files from PyTorch, with its standard ``runtime_error``.
    """

    perplexity: float | None = None
    run_perplexity: float | None = None
    tolerance: float
    loss_error: float | None = 0.0
    runtime_divergence: float | None = 0.0
    runtime_error: float | None = 0.0
    failure: str | None = None

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
    """Speeds in tokens a second, bytes and seconds of the dense model and of the export, and the machine."""

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


class ExportFacts(ResultFacts):
    """The facts of an export. ``types``: numbers of matrices by type."""

    base_model: str
    bytes: int = Field(ge=1)
    transform: Mapping[str, Any] = {}
    sparsity: Sparsity
    check: Check
    runtime: Runtime | None = None
    seed: int | None = None
    evaluations: int = 0
    dtype: str | None = None
    ragged: bool = False
    types: Mapping[str, int] = {}

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Self:
        """Raise :class:`evoprune.InputError` for facts that do not fit."""
        checked = check_parameters(cls, facts, "")
        assert isinstance(checked, cls)
        return checked

    def compared(self) -> tuple[Mapping[str, float], str]:
        """Return the numbers for the command ``front``, see :meth:`evoprune.plugins.Exporting.compared`."""
        raise InputError("states no check.divergence; expected the export of a file, by 'export RUN_DIR OUT.SUFFIX'")
