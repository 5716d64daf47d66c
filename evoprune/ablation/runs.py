"""The variants of an ablation, and their runs: one per variant and seed, to the same budget."""

import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import yaml

from evoprune.backends.evaluation import ProblemRef
from evoprune.backends.execution import Execution
from evoprune.console.errors import InputError
from evoprune.experiment import registry
from evoprune.experiment.resolve import Resolved
from evoprune.experiment.spec import Experiment
from evoprune.interfaces.problem import Evaluation
from evoprune.interfaces.result import Result
from evoprune.records import recorded
from evoprune.records.history import Line, may_win, order
from evoprune.records.recorded import Key
from evoprune.records.run_folder import HISTORY, MEASURED
from evoprune.search.run import refuse_other_experiment, run_to_its_end
from evoprune.search.toolbox import problem_ref

SIGNIFICANT = 0.05
"""The p at and below which a difference counts as significant."""


class Variant(NamedTuple):
    """A combination of values: its ``name`` for people, and ``settings`` for ``--set``."""

    name: str
    settings: tuple[str, ...]


def variants(varied: Sequence[str], shared: Mapping[str, str] = MappingProxyType({})) -> list[Variant]:
    """All combinations of ``KEY=VALUE,VALUE,...``, the first value of each key first.

    A key that the experiment lacks at its top is the problem's. ``shared``: keys that all variants share, to their
    options.
    """
    axes = [_settings(text, shared) for text in varied]
    if len({axis[0].partition("=")[0] for axis in axes}) < len(axes):
        raise InputError("a key is varied twice; give its values in one --vary", "--vary")
    return [Variant(", ".join(map(_short, settings)), settings) for settings in product(*axes)]


def least_p(variants: int, seeds: int) -> float:
    """The least p of a difference between one of ``variants`` and the first: all differences have the same sign.

    Of a two-sided signed-rank test (Wilcoxon, Biometrics Bulletin 1, 1945) on so many ``seeds``, corrected for the
    number of variants (Holm, Scandinavian Journal of Statistics 6, 1979).
    """
    return min(1.0, 2.0 ** (1 - seeds) * max(1, variants - 1))


def enough_seeds(variants: int) -> int:
    """The fewest seeds with which a difference between one of ``variants`` and the first can be significant."""
    return next(seeds for seeds in count(1) if least_p(variants, seeds) <= SIGNIFICANT)


def _settings(text: str, shared: Mapping[str, str]) -> list[str]:
    """A setting for each value of ``KEY=VALUE,VALUE,...``."""
    key, equals, listed = text.partition("=")
    try:
        values = yaml.safe_load(f"[{listed}]")
    except Exception:  # PyYAML raises other exceptions too, see config.read
        values = None
    if not equals or not all(key.split(".")) or not isinstance(values, list) or len(values) < 2:
        raise InputError("expected KEY=VALUE,VALUE,..., as in operators.mate=blend,uniform", f"--vary {text}")
    if key in shared:
        raise InputError(f"all variants share it; give {shared[key]} instead", f"--vary {text}")
    key = key if key.split(".")[0] in Experiment.model_fields else f"problem.{key}"
    settings = [f"{key}={_plain(value)}" for value in values]
    if len(set(settings)) < len(settings):
        raise InputError("a value is given twice", f"--vary {text}")
    return settings


def _short(setting: str) -> str:
    return re.sub(r"^(operators|problem)\.|\.use(?==)", "", setting)


def _plain(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("\n").removesuffix("\n...")


class Planned(NamedTuple):
    """A run of an ablation, and its folder ``place``."""

    variant: str
    seed: int
    place: Path
    resolved: Resolved


@dataclass(frozen=True)
class Finished:
    """A finished run. ``best[i]``: its best fitness after ``work[i]``, which rises; ``spent``: its whole work.

    ``unseen``: the score of the result on data that the search never saw, if the problem has one. ``feasible``: whether
    the best within the budget satisfies all constraints.
    """

    variant: str
    work: Sequence[float]
    best: Sequence[float]
    spent: float
    unseen: float | None = None
    feasible: bool = True

    def at(self, budget: float) -> float:
        """The best fitness within ``budget`` of work; NaN where there was none."""
        within = [best for work, best in zip(self.work, self.best, strict=True) if work <= budget]
        return within[-1] if within else math.nan


def run_missing(plans: Sequence[Planned], execution: Execution) -> Iterator[Finished]:
    """Run the ``plans`` that are not finished, and yield all; runs on the same problem share their scores."""
    _refuse_different_spaces([plan.resolved for plan in plans])
    for plan in plans:
        refuse_other_experiment(plan.resolved, plan.place, "give the ablation another --name")
    memos: dict[ProblemRef, dict[Key, Evaluation]] = {}
    for plan in plans:
        print(f"{plan.variant}, seed {plan.seed}: {plan.place}", file=sys.stderr)
        memo = memos.setdefault(problem_ref(plan.resolved), {})
        run_to_its_end(plan.resolved, plan.place, execution, memo)
        if not (plan.place / MEASURED).exists():  # its scores depend on the measurements
            scores = recorded.read(plan.place, plan.resolved.problem.signs_of(plan.resolved.settings)).candidates
            # failures are tried again: memory may have been short; samples are other ones for another seed
            shared = {key: score for key, score in scores.items() if score.failure is None and not key[2]}
            memo |= {key: replace(score, seconds=0.0) for key, score in shared.items()}
        yield finished(plan)


def _refuse_different_spaces(variants: Sequence[Resolved]) -> None:
    """Raise InputError if ``variants`` of one problem have operators that no space has together."""
    if len({each.experiment.problem.use for each in variants}) > 1:
        return
    given = {
        (slot, operator.use)
        for each in variants
        for slot, operator in each.operators.items()
        if slot in each.experiment.operators.model_fields_set
    }
    bred = {pair: spaces for pair in sorted(given) if (spaces := registry.breeds(*pair))}
    if bred and not set.intersection(*map(set, bred.values())):
        listed = (f"operators.{slot}: '{use}' breeds {' and '.join(spaces)}" for (slot, use), spaces in bred.items())
        raise InputError(f"no space has all operators: {'; '.join(listed)}", "--vary")


def finished(plan: Planned) -> Finished:
    """Read the finished run of ``plan``. Raises InputError if its budget was too small for a score on all the data."""
    result, experiment = recorded.read_result(plan.place, Result), plan.resolved.experiment
    if result.standard_error is not None:  # single scores with noise would be the luckiest
        values, feasible = result.best.fitness[:1], not result.best.violation
        return Finished(plan.variant, [result.work], values, result.work, result.unseen, feasible)
    sign = plan.resolved.problem.signs_of(plan.resolved.settings)[0]
    rises = list(improvements(recorded.lines(plan.place / HISTORY), sign))
    within = [line for work, line in rises if work <= (experiment.budget or math.inf)]
    if not within:
        raise InputError("too little for a score on all the data; give a larger --budget", str(plan.place))
    work, best = [work for work, _ in rises], [line["fitness"][0] for _, line in rises]
    feasible = "violation" not in within[-1]
    return Finished(plan.variant, work, best, result.work or work[-1], result.unseen, feasible)


def improvements(lines: Iterable[Line], sign: float) -> Iterator[tuple[float, Line]]:
    """Yield each candidate that may win and improves the best, and the total work so far.

    ``sign``: negative if the first objective is minimised.
    """
    best, spent = None, 0.0
    for line in lines:
        if "candidate" not in line:
            continue
        if not line["memo"]:  # a probe that was scored before may be a candidate now
            spent += line["work"]
        if line["fitness"][0] is not None and may_win(line) and (best is None or order(line, [sign]) > best):
            best = order(line, [sign])
            yield spent, line
