"""The results of an ablation: spread, intervals, rank tests against the first variant, and curves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy
from matplotlib.figure import Figure
from scipy import stats

from evoprune.ablation.campaign import Campaign
from evoprune.ablation.runs import Finished
from evoprune.console.formatting import aligned
from evoprune.figures import COLOURS, log_scale_if_wide, new, save, thousands
from evoprune.files.json_files import write_json

CONFIDENCE = 0.95
_RESAMPLES = 9999
HEAD = ["variant", "runs", "median", "quartiles", f"{CONFIDENCE:.0%} interval of the median", "p against the first"]

_POINTS = 200
_LINES = ("-", "--", ":", "-.")  # for variants beyond the colours

# shown where the variants of a campaign have no common ``label`` for the objective
NOT_COMPARED = "it differs between the variants, so that only their results on unseen data are compared"


def write_results(runs: Sequence[Finished], campaign: Campaign, folder: Path) -> str:
    """Write ``ablation.json`` and ``curves`` into ``folder``; return the tables as text."""
    found = compared(runs, campaign)
    seeds = len({run.seed for run in runs})
    write_json(folder / "ablation.json", {title: [asdict(row) for row in rows] for title, rows in found.items()})
    if campaign.label is not None:
        save(draw_curves(runs, campaign.budget, campaign.unit, campaign.label), folder, "curves")
    sections = [] if campaign.label is not None else [f"The objective: {NOT_COMPARED}."]
    for title, rows in found.items():
        sections.append("\n".join([f"{title}:", "", *aligned([HEAD, *map(cells, rows)]), "", in_words(rows, seeds)]))
    return "\n\n".join(sections) + "\n"


def compared(runs: Sequence[Finished], campaign: Campaign) -> dict[str, list[Row]]:
    """By title, a row for each variant: of the fitness, and of the result on unseen data where all runs have one."""
    budget, tables = campaign.budget, {}
    if campaign.label is not None:
        fitness = _by_variant(runs, [run.curve.at(budget) for run in runs])
        tables[f"fitness, best within {budget:,.0f} {campaign.unit}"] = fitness
    unseen = [run.unseen for run in runs if run.unseen is not None]
    if len(unseen) == len(runs):
        beyond = max(run.spent for run in runs) / budget - 1
        spent = f", the last generation's up to {beyond:.0%} beyond the budget too" if beyond >= 0.005 else ""
        tables[f"the result on data the search never saw{spent}"] = _by_variant(runs, unseen)
    return {title: compare(scores) for title, scores in tables.items()}


def _by_variant(runs: Sequence[Finished], scores: Sequence[float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for run, score in zip(runs, scores, strict=True):
        found.setdefault(run.variant, []).append(score)
    return found


def cells(row: Row) -> list[str]:
    """The cells of ``row``, in the order of :data:`HEAD`."""
    quartiles, interval = (" to ".join(f"{v:.4g}" for v in pair) for pair in (row.quartiles, row.interval))
    p = "" if row.p is None else f"{row.p:.3g}"
    return [row.variant, str(row.runs), f"{row.median:.4g}", quartiles, interval, p]


def draw_curves(runs: Sequence[Finished], budget: float, unit: str, label: str) -> Figure:
    """The median best so far (``label``) of each variant against work, and the band of its middle half."""
    names = list(dict.fromkeys(run.variant for run in runs))
    figure, axes = new(width=8.0, height=4.8 + 0.2 * len(names))
    shown: list[float] = []
    opacity = 0.2 if len(names) <= 3 else 0.08  # many bands over one another become one grey
    for number, variant in enumerate(names):
        curves = [run.curve for run in runs if run.variant == variant]
        start = max(curve.work[0] for curve in curves)  # from where every seed has a score
        at = numpy.linspace(start, budget, _POINTS)
        values = numpy.array([[curve.at(work) for work in at] for curve in curves])
        low, middle, high = numpy.quantile(values, (0.25, 0.5, 0.75), axis=0)
        colour = COLOURS[number % len(COLOURS)]
        style = _LINES[number // len(COLOURS) % len(_LINES)]
        axes.plot(at, middle, color=colour, linestyle=style, label=variant)
        axes.fill_between(at, low, high, color=colour, alpha=opacity, linewidth=0)
        shown += [*low, *high]
    log_scale_if_wide(axes, shown)
    thousands(axes.xaxis)
    axes.set(xlabel=unit, ylabel=label, title="Best so far: median and middle half over seeds")
    figure.legend(loc="outside lower center", ncols=2 if len(names) > 1 and max(map(len, names)) < 45 else 1)
    return figure


@dataclass(frozen=True)
class Row:
    """Final scores of a variant over its seeds.

    ``interval``: percentile bootstrap of the median, at ``CONFIDENCE``. ``p``: two-sided Mann-Whitney U test against
    the first variant, corrected by Holm's method; None for the first.
    """

    variant: str
    runs: int
    median: float
    quartiles: tuple[float, float]
    interval: tuple[float, float]
    p: float | None

    @property
    def differs(self) -> bool:
        return self.p is not None and self.p < 1 - CONFIDENCE


def compare(scores: Mapping[str, Sequence[float]]) -> list[Row]:
    """A row for each variant of ``scores`` (by name, a number a seed), in their order."""
    first = next(iter(scores.values()))
    raw = [_difference(first, values) for values in list(scores.values())[1:]]
    corrected: list[float | None] = [None, *holm(raw)]
    return [
        Row(
            name,
            len(values),
            float(numpy.median(values)),
            (float(numpy.quantile(values, 0.25)), float(numpy.quantile(values, 0.75))),
            _interval(values),
            p,
        )
        for (name, values), p in zip(scores.items(), corrected, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """``p_values`` corrected for their number (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = highest
    return corrected


def least_possible_p(seeds: int, variants: int) -> float:
    """The smallest corrected p that ``seeds`` runs of each of ``variants`` can reach, if none of them tie."""
    apart = _difference(range(seeds), range(seeds, 2 * seeds))
    return min(1.0, apart * max(1, variants - 1))


def in_words(rows: Sequence[Row], seeds: int) -> str:
    """Say of each variant whether it differs from the first, and whether so many seeds could show a difference."""
    first, *others = rows
    least = least_possible_p(seeds, len(rows))
    lines = []
    reached = 1 - 2.0 ** (1 - seeds)
    if reached < CONFIDENCE:
        lines.append(
            f"From the least to the largest of {seeds} seeds, an interval holds the median in {reached:.0%} of cases "
            f"at most, not in {CONFIDENCE:.0%}."
        )
    if least >= 1 - CONFIDENCE:
        lines.append(
            f"With {seeds} seeds and {len(rows)} variants no p can fall below {least:.3g}: "
            "too few to call any difference significant, whatever its size."
        )
    for row in others:
        way = "lower" if row.median < first.median else "higher" if row.median > first.median else "equal"
        verdict = "differs from" if row.differs else "is not shown to differ from"
        lines.append(
            f"{row.variant} {verdict} {first.variant}: median {row.median:.4g} against {first.median:.4g} "
            f"({way}), p = {row.p:.3g}."
        )
    return "\n".join(lines)


def _difference(first: Sequence[float], other: Sequence[float]) -> float:
    """The p of one comparison: exact where seeds are few, also with ties."""
    if min(len(first), len(other)) < 2:
        return 1.0
    ties = len({*first, *other}) < len(first) + len(other)
    method = stats.PermutationMethod(n_resamples=_RESAMPLES, random_state=0) if ties else "auto"
    return float(stats.mannwhitneyu(first, other, alternative="two-sided", method=method).pvalue)


def _interval(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2 or len(set(values)) == 1:
        return float(min(values)), float(max(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few values give few distinct medians
        found = stats.bootstrap(
            (list(values),), numpy.median, confidence_level=CONFIDENCE, n_resamples=_RESAMPLES,
            method="percentile", random_state=numpy.random.default_rng(0),
        ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)
