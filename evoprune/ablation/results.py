"""The results of an ablation: median and range of each variant, a paired test against the first, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy
from matplotlib.figure import Figure
from scipy import stats

from evoprune.ablation.runs import Finished, least_p
from evoprune.console.formatting import aligned
from evoprune.figures.style import COLOURS, log_scale_if_wide, new_figure, save_figure, thousands
from evoprune.files.json_files import write_json

_HEAD = ["variant", "runs", "median", "range", "p against the first"]
_RESAMPLES, _POINTS = 9999, 200  # of a test; of a curve
_LINES = ("-", "--", ":", "-.")  # for variants beyond the colours


@dataclass(frozen=True)
class Row:
    """Scores of a variant over its seeds. ``coverage``: probability that ``range`` contains the median of all seeds.

    ``p``: two-sided signed-rank test of the differences from the first variant on the same seeds (Wilcoxon, Biometrics
    Bulletin 1, 1945), corrected for the number of variants (Holm, Scandinavian Journal of Statistics 6, 1979); None for
    the first.
    """

    variant: str
    runs: int
    median: float
    range: tuple[float, float]
    coverage: float
    p: float | None

    @property
    def cells(self) -> list[str]:
        p = "" if self.p is None else f"{self.p:.3g}"
        return [self.variant, str(self.runs), f"{self.median:.4g}", " to ".join(f"{v:.4g}" for v in self.range), p]


def write_results(runs: Sequence[Finished], budget: float, unit: str, label: str | None, folder: Path) -> str:
    """Write ``ablation.json`` and ``curves`` into ``folder``; return the tables as text.

    ``label``: of the objective; None where it differs among the variants, whose fitness is not compared then.
    """
    tables = compared(runs, budget, unit, label)
    write_json(folder / "ablation.json", {title: [asdict(row) for row in rows] for title, rows in tables.items()})
    cells = {title: aligned([_HEAD, *(row.cells for row in rows)]) for title, rows in tables.items()}
    sections = ["\n".join([f"{title}:", "", *lines]) for title, lines in cells.items()]
    if label is None:
        sections.append("The objective differs among the variants: only their results on unseen data are compared.")
    else:
        save_figure(draw_curves(runs, budget, unit, label), folder, "curves")
    if infeasible := sum(not run.feasible for run in runs):
        theirs = "in the budget, no candidate satisfies all constraints, and the fitness is that of the least violation"
        sections.append(f"Of {infeasible} of {len(runs)} runs: {theirs}.")
    variants = len({run.variant for run in runs})
    seeds = len(runs) // variants
    sections.append(
        f"Range: of {seeds} seeds; it contains the median of all seeds with a probability of {_coverage(seeds):.3g}.\n"
        f"{explained_p(variants, seeds)}\n"
        "Evaluations: runs differ in their number, as the budget is of work: one on a part of the data costs less, and "
        "the last generation may end beyond it."
    )
    return "\n\n".join(sections) + "\n"


def explained_p(variants: int, seeds: int) -> str:
    """Return a sentence on the p of so many ``variants``."""
    return (
        "p: Wilcoxon's signed ranks of the differences from the first on the same seed, two-sided, corrected by Holm's "
        f"method; with {seeds} seeds and {variants} variants none can fall below {least_p(variants, seeds):.3g}."
    )


def compared(runs: Sequence[Finished], budget: float, unit: str, label: str | None) -> dict[str, list[Row]]:
    """Return rows of variants by title: of the fitness, and of the result on unseen data if all runs have one."""
    tables = {}
    if label is not None:
        tables[f"fitness, best within {budget:,.0f} {unit}"] = compare(_by_variant(runs, [r.at(budget) for r in runs]))
    unseen = [run.unseen for run in runs if run.unseen is not None]
    if len(unseen) == len(runs):
        beyond = max(run.spent for run in runs) / budget - 1
        spent = f", the last generation's up to {beyond:.0%} beyond the budget too" if beyond >= 0.005 else ""
        tables[f"the result on data the search never saw{spent}"] = compare(_by_variant(runs, unseen))
    return tables


def _by_variant(runs: Sequence[Finished], scores: Sequence[float]) -> dict[str, list[float]]:
    grouped: dict[str, list[float]] = {}
    for run, score in zip(runs, scores, strict=True):
        grouped.setdefault(run.variant, []).append(score)
    return grouped


def compare(scores: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return a row for each variant of ``scores``: by name, a number for each of the same seeds."""
    first, *others = scores.values()
    raw = numpy.array([_difference(first, values) for values in others])
    order, p = raw.argsort(), raw.copy()
    p[order] = numpy.maximum.accumulate(raw[order] * numpy.arange(len(raw), 0, -1)).clip(max=1.0)
    return [
        Row(name, len(values), median(values), (min(values), max(values)), _coverage(len(values)), corrected)
        for (name, values), corrected in zip(scores.items(), [None, *p.tolist()], strict=True)
    ]


def _coverage(seeds: int) -> float:
    """Return the probability that the median of all seeds is in the range of some: not all are above, or all below."""
    return 1 - 2.0 ** (1 - seeds)


def _difference(first: Sequence[float], other: Sequence[float]) -> float:
    """Return the p-value of one comparison: exact for few seeds, also with ties."""
    differences = numpy.subtract(first, other)
    if len(differences) < 2 or not differences.any():
        return 1.0
    method = stats.PermutationMethod(n_resamples=_RESAMPLES, random_state=0)
    return float(stats.wilcoxon(differences, method=method).pvalue)


def draw_curves(runs: Sequence[Finished], budget: float, unit: str, label: str) -> Figure:
    """Draw the median best so far (``label``) of each variant against work, with a band for the range over seeds.

    Up to ``budget``, or the end of the variant's last run.
    """
    names = list(dict.fromkeys(run.variant for run in runs))
    figure, axes = new_figure(width=8.0, height=4.8 + 0.2 * len(names))
    shown: list[float] = []
    for number, variant in enumerate(names):
        seeds = [run for run in runs if run.variant == variant]
        end = min(budget, max(run.spent for run in seeds))
        at = numpy.linspace(max(run.work[0] for run in seeds), end, _POINTS)  # from where every seed has a score
        low, middle, high = numpy.quantile([[run.at(work) for work in at] for run in seeds], (0.0, 0.5, 1.0), axis=0)
        colour, style = COLOURS[number % len(COLOURS)], _LINES[number // len(COLOURS) % len(_LINES)]
        axes.plot(at, middle, color=colour, linestyle=style, marker="o", markersize=3, markevery=[-1], label=variant)
        axes.fill_between(at, low, high, color=colour, alpha=0.1, linewidth=0)
        shown += [*low, *high]
    log_scale_if_wide(axes, shown)
    thousands(axes.xaxis)
    over_seeds = ": median and range over seeds" if len(runs) > len(names) else ""
    axes.set(xlabel=unit, ylabel=label, title=f"Best so far{over_seeds}")
    figure.legend(loc="outside lower center", ncols=2 if len(names) > 1 and max(map(len, names)) < 45 else 1)
    return figure
