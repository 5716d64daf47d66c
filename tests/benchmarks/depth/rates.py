"""Compares searches for which attentions and MLPs to drop, at equal tokens, on any model; prints a Markdown table.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.depth.rates OUT.jsonl --model MODEL --search-text FILE \\
        --report-text FILE --removed 0.25 --tokens 500000 --seeds 0 1 2

A line of the file is a search with a seed. What a file holds already is not computed again, so the command may be
interrupted. Tokens are those run through the model for the search; those of a gradient count three times. A search
stops where the next genome would cost more than is left. Its result is the best on all the search text within the
budget; without any it has none. Searches that draw nothing at random run once.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from evoprune import Algorithm, Evaluate, Generation, Individual, InputError, check_parameters
from operators.algorithm.greedy import greedy
from operators.algorithm.level_switching import level_switching
from operators.algorithm.random_search import random_search
from problems.language_model.problem import LanguageModel
from tests.benchmarks.depth.account import Account, Progress, Report
from tests.benchmarks.depth.costs import Costs, Pay, alone, block_influence, taylor
from tests.benchmarks.depth.evopress import SCREENING, evopress, sliding_window
from tests.benchmarks.depth.removal import Removal
from tests.benchmarks.depth.solvers import Solver, by_cost, by_rate, dynamic, mip
from tests.benchmarks.results import Line, Results

Search = Callable[[Removal, Pay], Algorithm]


def summed(costs: Costs, solver: Solver | None = None) -> Search:
    """The one genome that ``solver`` makes of ``costs``; None: the cheapest attentions and MLPs, in equal numbers."""

    def search(removal: Removal, pay: Pay) -> Algorithm:
        each = _paid_once(costs, removal.problem, pay)
        found = [Individual(solver(each, removal.budget) if solver else removal.cheapest(each))]
        yield Evaluate(found)
        yield Generation(found)

    return search


def _paid_once(costs: Costs, problem: LanguageModel, pay: Pay) -> Sequence[float]:
    """What ``costs`` finds; each search that asks pays the tokens, the first one the time, too."""

    def noted(tokens: int) -> None:
        pay(tokens)
        paid.append(tokens)

    if (key := (costs, problem)) in _known:
        pay(_known[key][1])
    else:
        paid: list[int] = []
        _known[key] = costs(problem, noted), sum(paid)
    return _known[key][0]


_known: dict[tuple[Costs, LanguageModel], tuple[Sequence[float], int]] = {}
"""What was found, and the tokens it took."""


DETERMINISTIC: dict[str, Search] = {
    "block_influence": summed(block_influence, by_cost),
    "block_influence_rate": summed(block_influence, by_rate),
    "block_influence_equal": summed(block_influence),
    "taylor": summed(taylor, by_cost),
    "taylor_rate": summed(taylor, by_rate),
    "taylor_equal": summed(taylor),
    "perplexity": summed(alone, by_cost),
    "perplexity_rate": summed(alone, by_rate),
    "perplexity_equal": summed(alone),
    "dynamic": summed(alone, dynamic),
    "mip": summed(alone, mip),
    "sliding_window": lambda removal, _: sliding_window(removal.equal_numbers(), removal.windows()),
}

SEEDED: dict[str, Search] = {
    "evopress": lambda removal, _: evopress(removal.equal_numbers(), removal.kinds, SCREENING),
    "greedy": lambda removal, _: greedy(removal.toolbox(), budget=removal.budget, initial_genomes=[]),
    "level_switching": lambda removal, _: level_switching(removal.toolbox(), initial_genomes=[]),
    "random": lambda removal, _: random_search(removal.toolbox(), population=16, initial_genomes=[]),
}

SEARCHES = DETERMINISTIC | SEEDED


class Rates(Results):
    """The lines of a file, some of them of searches that draw nothing at random."""

    def missing(self, names: Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
        """The searches and seeds that the file lacks; what is deterministic has the first seed."""
        wanted = [(name, seed) for name in names for seed in (seeds[:1] if name in DETERMINISTIC else seeds)]
        known = {(line["search"], line["seed"]) for line in self.lines}
        alike = {name for name, _ in known if name in DETERMINISTIC}
        return [each for each in wanted if each not in known and each[0] not in alike]


def measured(name: str, seed: int, removal: Removal, tokens: int, report: Report, progress: Progress) -> Line:
    """Run a search, and score its result."""
    account = Account(removal.problem, tokens, lambda line: progress(f"{name}, seed {seed}: {line}"))
    removal.problem.session.fitness._states.clear()  # so that none is faster for what the one before it left
    random.seed(seed)
    start = time.monotonic()
    account.run(SEARCHES[name](removal, account.pay))
    line: Line = {"search": name, "seed": seed, "tokens": account.spent, "seconds": round(time.monotonic() - start, 1)}
    if account.best is None:
        return line | {"report_ppl": None}
    best = list(account.best)
    fitness, texts = removal.problem.session.fitness, removal.problem.session.texts
    search = fitness.perplexity(best, texts.search.tokens)
    perplexity, divergence = report(best)
    scores = {"search_ppl": search, "report_ppl": perplexity, "report_kl": divergence, "dense_report_ppl": report.dense}
    return line | removal.facts(best) | scores


def table(lines: Sequence[Line]) -> str:
    """A Markdown table of the searches, those of the lowest mean perplexity on the report text first."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(line["search"], []).append(line)
    rows = []
    for name, group in groups.items():
        found = [line for line in group if line["report_ppl"] is not None]
        spent = f"{mean(line['tokens'] for line in group):,.0f} | {mean(line['seconds'] for line in group):,.0f}"
        if not found:
            rows.append((float("inf"), f"| {name} | - | - | - | - | - | {spent} |"))
            continue
        report = [line["report_ppl"] for line in found]
        spread = f" ± {stdev(report):.2f}" if len(report) > 1 else ""
        each = ", ".join(f"{value:.2f}" for value in report) + (f" ({len(found)} of {len(group)})" * (found != group))
        rest = [mean(line[key] for line in found) for key in ("search_ppl", "report_kl", "removed")]
        cells = f"{mean(report):.2f}{spread} | {each} | {rest[1]:.4f} | {rest[0]:.2f} | {rest[2]:.2%}"
        rows.append((mean(report), f"| {name} | {cells} | {spent} |"))
    dense = next((f"Dense: {line['dense_report_ppl']:.2f}\n\n" for line in lines if "dense_report_ppl" in line), "")
    head = "| search | report perplexity | of each seed | KL, nats a token | search perplexity | removed | tokens | s |"
    return "\n".join([dense + head, "|---|---|---|---|---|---|---|---|", *(row for _, row in sorted(rows))])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the .jsonl file to write or to complete")
    parser.add_argument("--model", default="bundled:gpt2-mini")
    parser.add_argument("--dtype", default="auto", help="auto, bfloat16, ...")
    parser.add_argument("--search-text", required=True)
    parser.add_argument("--search-windows", type=int, nargs=2, default=[8, 512], help="how many, and their tokens")
    parser.add_argument("--report-text", required=True)
    parser.add_argument("--report-windows", type=int, nargs=2, default=[24, 1024], help="how many, and their tokens")
    parser.add_argument("--removed", type=float, default=0.25, help="share of the blocks' parameters")
    parser.add_argument("--objective", default="perplexity", choices=["perplexity", "kl"])
    parser.add_argument("--tokens", type=int, default=500_000, help="of one search")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--searches", nargs="+", default=list(SEARCHES), choices=list(SEARCHES))
    given = parser.parse_args(arguments)
    settings = {key: value for key, value in vars(given).items() if key not in ("out", "seeds", "searches")}
    try:
        results = Rates(given.out, settings)
        if missing := results.missing(given.searches, given.seeds):
            print(f"{len(missing)} searches; loading {given.model}", flush=True)
            removal, progress = Removal(_problem(given)), Progress()
            report = Report(removal.problem, progress)
            for name, seed in missing:
                results.add(measured(name, seed, removal, given.tokens, report, progress))
                print(f"{name}, seed {seed}: report perplexity {results.lines[-1]['report_ppl']}", flush=True)
    except (InputError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    print(table(results.lines))


def _problem(given: argparse.Namespace) -> LanguageModel:
    def text(source: str, windows: Sequence[int]) -> dict[str, Any]:
        return {"source": source, "windows": windows[0], "window": windows[1]}

    settings = {
        "model": given.model,
        "dtype": given.dtype,
        "objective": given.objective,
        "transforms": {"use": "sublayers"},
        "budget": {"use": "parameters", "removed": given.removed},
        "search_text": text(given.search_text, given.search_windows),
        "report_text": text(given.report_text, given.report_windows),
        "held_out_windows": 0,
    }
    return LanguageModel(check_parameters(LanguageModel.Settings, settings, "problem"))


if __name__ == "__main__":
    main()
