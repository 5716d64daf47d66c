"""Symbolic regression: a formula for one column of a table by the others."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy
from pydantic import Field, model_validator

from evoprune import Evaluation, InputError, Problem, Reporting, Result, Settings, Tree
from evoprune.plugins import (
    BLUE,
    GREY,
    Outcome,
    blamed_on,
    digits,
    draw_tree,
    entitle,
    find_file,
    missing_files,
    new_figure,
    read_columns,
    save_figure,
)


class RegressionSettings(Settings):
    """Parameters of the regression problem."""

    data: str = Field("problems/pendulum.csv", description="a CSV file of numbers, with a header")
    target: str | None = Field(None, description="the column to be predicted from the others; null: the last one")
    primitives: tuple[str, ...] = Field(("add", "sub", "mul", "div"), description="functions of the formula")
    constants: tuple[float, float] | None = Field((-1.0, 1.0), description="bounds of drawn constants; null: none")
    deepest: int = Field(8, ge=1, le=90, description="most levels of the tree below its root")
    scaled: bool = Field(True, description="fit a slope and an intercept of each formula (Keijzer, 2003)")
    held_out: float = Field(0.25, ge=0, lt=1, description="share of the rows that no score reads, for the result")
    draw: int = Field(0, ge=0, description="seed of the draw of these rows")

    @model_validator(mode="after")
    def _makes_trees(self) -> Self:
        Tree(self.primitives, ["x"], constants=self.constants, deepest=self.deepest)
        return self


class RegressionResult(Result):
    """The keys of the engine, and the formula; ``unseen`` is its error on the held-out rows."""

    formula: str
    nodes: int
    training_error: float
    mean_error: float  #: of the mean of the training rows, where ``unseen`` is measured


class Regression(Problem, Reporting):
    """Predict one column of a table by a formula of the others, with the least root of the mean squared error."""

    Settings = RegressionSettings
    Result = RegressionResult
    settings: RegressionSettings
    words: ClassVar[Mapping[str, str]] = {
        "training_error": "error on the training rows",
        "unseen": "error on the held-out rows",
        "mean_error": "error of the mean, for comparison",
    }

    def __init__(self, settings: RegressionSettings) -> None:
        super().__init__(settings)
        self._path = find_file(settings.data)
        columns = read_columns(self._path)
        self.target = settings.target or [*columns][-1]
        if self.target not in columns or len(columns) < 2:
            raise InputError(f"expected a column '{self.target}' and others, got {', '.join(columns)}", str(self._path))
        targets = numpy.array(columns.pop(self.target))
        self._names, inputs = [*columns], numpy.array([*columns.values()])
        with blamed_on(str(self._path)):
            _ = self.space  # refuses names of columns that are no arguments
        order = random.Random(settings.draw).sample(range(len(targets)), len(targets))
        held, train = numpy.split(numpy.array(order), [int(settings.held_out * len(order))])
        if len(train) < 3:
            raise InputError(f"expected at least 3 rows for training, got {len(train)}", str(self._path))
        self.train, self.held_out = ((inputs[:, numpy.sort(rows)], targets[numpy.sort(rows)]) for rows in (train, held))

    @cached_property
    def space(self) -> Tree:
        given = self.settings
        return Tree(given.primitives, self._names, constants=given.constants, deepest=given.deepest)

    @cached_property
    def _scaled(self) -> Tree:
        return Tree([*self.settings.primitives, "add", "mul"], self._names)

    def evaluate(self, genome: Sequence[Any], fidelity: float = 1.0) -> Evaluation:  # noqa: ARG002 - it has one
        error = self.error(genome, *self.train)
        faulty = not numpy.isfinite(error)
        return Evaluation((error,), failure="the formula is infinite, or no number, on a row" if faulty else None)

    def error(self, genome: Sequence[Any], inputs: Any, targets: Any) -> float:
        """Root of the mean squared error of the formula; infinite if it has no value on a row."""
        with numpy.errstate(all="ignore"):
            error = float(numpy.sqrt(numpy.mean((self.predict(genome, inputs) - targets) ** 2)))
        return error if numpy.isfinite(error) else numpy.inf

    def predict(self, genome: Sequence[Any], inputs: Any) -> Any:
        """Predict the target of each row; ``inputs``: a row for each column of the table."""
        return self.formula(genome)(*inputs) + numpy.zeros(inputs.shape[1])

    def line(self, genome: Sequence[Any]) -> tuple[float, float]:
        """Slope and intercept by which the formula fits the training rows best; of a constant, a slope of 0."""
        if not self.settings.scaled:
            return 1.0, 0.0
        inputs, targets = self.train
        values = self.space.chosen(genome)(*inputs) + numpy.zeros(len(targets))
        with numpy.errstate(all="ignore"):
            centred = values - values.mean()
            varies = not values.std() <= 1e-12 * abs(values.mean())  # also if it is no number
            slope = float(centred @ (targets - targets.mean()) / (centred @ centred)) if varies else 0.0
            return slope, float(targets.mean() - slope * values.mean())

    def formula(self, genome: Sequence[Any]) -> Any:
        """Return the formula, with its slope and intercept."""
        slope, intercept = self.line(genome)
        return self._scaled.chosen(("add", intercept, "mul", slope, *genome) if self.settings.scaled else genome)

    def fingerprint(self) -> dict[str, str]:
        return {"data": hashlib.sha256(self._path.read_bytes()).hexdigest()[:16]}

    def report(self, outcome: Outcome, folder: Path) -> dict[str, Any]:
        best, seen = outcome.best, outcome.best_evaluation.values[0]
        rows, (inputs, targets) = ("held-out", self.held_out) if len(self.held_out[1]) else ("training", self.train)
        error = self.error(best, inputs, targets)
        figure, axes = new_figure(5.5, 5.5)
        axes.axline((targets[0], targets[0]), slope=1, color=GREY, linewidth=1)
        axes.plot(targets, self.predict(best, inputs), "o", color=BLUE, markersize=4)
        axes.set(xlabel=self.target, ylabel="prediction")
        entitle(axes, f"{len(targets)} {rows} rows, error {digits(error)}", outcome.title)
        save_figure(figure, folder, "prediction")
        formula, functions = self.formula(best), self._scaled.functions
        labels = [f"{node:.4g}" if isinstance(node, float) else str(node) for node in formula.genome]
        arities = [len(functions[label][1]) if label in functions else 0 for label in labels]
        draw_tree(labels, arities, "The formula as a tree", outcome.title, folder, "tree")
        return {
            "formula": f"{self.target} = {formula}",
            "nodes": len(best),
            "training_error": seen,
            "unseen": error if rows == "held-out" and numpy.isfinite(error) else None,
            "mean_error": float(numpy.sqrt(numpy.mean((targets - self.train[1].mean()) ** 2))),
            "figures": {
                "prediction": f"The predictions on the {len(targets)} {rows} rows; the line is a perfect prediction.",
                "tree": f"The formula as a tree: {formula}.",
            },
        }

    @classmethod
    def missing(cls, settings: RegressionSettings) -> list[str]:
        return missing_files(data=settings.data)

    @classmethod
    def about(cls, settings: RegressionSettings) -> str:
        return Path(settings.data).stem

    @classmethod
    def summary(cls, result: RegressionResult) -> list[str]:
        held = "" if result.unseen is None else f", {digits(result.unseen)} on the held-out ones"
        return [result.formula, f"error {digits(result.training_error)} on the training rows{held}"]

    @classmethod
    def labels_of(cls, settings: RegressionSettings) -> tuple[str, ...]:  # noqa: ARG003 - the same for all
        return ("error",)
