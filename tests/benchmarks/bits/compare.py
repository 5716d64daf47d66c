"""Compares ways to choose a GGUF type for each matrix, at equal bytes of the whole file; prints Markdown tables.

::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bits.compare OUT.jsonl --model MODEL --base BASE.gguf \\
        --search-text FILE --report-text FILE --bits 4.5 5.0 --tokens 300000 --seeds 0 1 2

All ways choose from the same quantised matrices, and what costs tokens may spend as many. A line of the file is a way
with a seed at a size; what it holds already is not computed again, so the command may be interrupted. Llama-quantize's
presets are quantised with the same importance matrix, each to the types that llama.cpp says in a dry run. What ways ask
for again is not scored again, but its time counts for each. With ``--files``, the files of our best way, of the best
rival and of the best preset that fits are written and scored in llama.cpp, at each size.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evoprune import InputError, check_parameters
from problems.language_model.problem import LanguageModel
from tests.benchmarks.bits.kinds import Kinds
from tests.benchmarks.bits.table import best, tables
from tests.benchmarks.bits.task import Task, remembering
from tests.benchmarks.bits.ways import ONCE, WAYS
from tests.benchmarks.depth.account import Account, Progress
from tests.benchmarks.results import Line, Results


class Told(Results):
    """Results that are told as they come."""

    def add(self, line: Line) -> None:
        """Keep and tell ``line``."""
        super().add(line)
        shown = {key: line[key] for key in ("bits", "way", "seed", "report_kl", "report_ppl") if key in line}
        print(shown | line.get("llama", {}), flush=True)


def measured(problem: LanguageModel, kinds: Kinds, bits: float, way: str, seed: int, given: Any) -> Line:
    """Run a way, and score its result; of what is ``given`` it takes ``tokens`` and ``screening``."""
    progress = Progress()
    task = Task.of(problem, bits, lambda paid: account.pay(paid), given.screening)
    account = Account(task.problem, given.tokens, lambda line: progress(f"{bits} bits, {way}, seed {seed}: {line}"))
    fitness: Any = problem.session.fitness
    random.seed(seed)
    start, fitness.reused = time.process_time(), 0.0
    account.run(WAYS[way](task, kinds))
    minutes = (time.process_time() - start + fitness.reused) / 60
    line: Line = {"bits": bits, "way": way, "seed": seed, "tokens": account.spent, "minutes": round(minutes, 2)}
    if account.best is None:
        return line
    line |= {"search_kl": account.best.fitness.values[0], "size": task.budget.spent(account.best)}
    return line | _scored(kinds, [str(kind) for kind in task.problem.genes.chosen(account.best)])


def preset_lines(problem: LanguageModel, kinds: Kinds, bits: float, results: Results) -> Iterator[Line]:
    """Each preset of at most some ``bits`` that ``results`` lack, once if several are alike."""
    seen: set[tuple[str, ...]] = set()
    kinds.transform.apply(kinds.transform.dense)
    for name, chosen in kinds.transform.presets().items():
        size = 8 * kinds.bytes(chosen) / problem.session.resident.parameters
        if tuple(chosen) not in seen and size <= bits and results.lacks(way=f"preset {name}"):
            seen.add(tuple(chosen))
            yield {"way": f"preset {name}", "size": size} | _scored(kinds, chosen)


def _scored(kinds: Kinds, chosen: list[str]) -> Line:
    perplexity, divergence = kinds.scores(chosen)
    scores = {"report_ppl": perplexity, "report_kl": divergence, "dense_ppl": kinds.dense}
    return scores | {"counts": dict(Counter(chosen)), "kinds": chosen}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the .jsonl file to write or to complete")
    parser.add_argument("--model", default="bundled:gpt2-mini")
    parser.add_argument("--base", help="a .gguf file of the same model")
    parser.add_argument("--types", nargs="+", help="to choose from; all of the product if not given")
    parser.add_argument("--search-text", required=True)
    parser.add_argument("--search-windows", type=int, nargs=2, default=[8, 512], help="how many, and their tokens")
    parser.add_argument("--report-text", required=True)
    parser.add_argument("--report-windows", type=int, nargs=2, default=[24, 1024], help="how many, and their tokens")
    parser.add_argument("--calibration-windows", type=int, nargs=2, default=[64, 512], help="of the search text's file")
    parser.add_argument("--tokens", type=int, default=300_000, help="of one way")
    parser.add_argument(
        "--screening", type=float, default=0.125, help="share of the search text for costs and children"
    )
    parser.add_argument("--bits", type=float, nargs="+", default=[5.0], help="of the file, for each parameter")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--files", action="store_true", help="score real files in llama.cpp, too")
    given = parser.parse_args(arguments)
    not_settings = ("out", "seeds", "ways", "bits", "files")
    try:
        results = Told(given.out, {key: value for key, value in vars(given).items() if key not in not_settings})
        _complete(results, given)
    except (InputError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    print(tables(results.lines))


def _complete(results: Results, given: argparse.Namespace) -> None:
    problem = remembering(_problem(given))
    kinds = Kinds(problem.session)
    if results.lacks(presets=max(given.bits)):
        for line in preset_lines(problem, kinds, max(given.bits), results):
            results.add(line)
        results.add({"presets": max(given.bits)})
    for seed in given.seeds:
        for bits in given.bits:
            for way in given.ways:
                first = seed == given.seeds[0] or way not in ONCE
                if first and results.lacks(bits=bits, way=way, seed=seed):
                    results.add(measured(problem, kinds, bits, way, seed, given))
    for bits in given.bits if given.files else []:
        for line in best(results.lines, bits):
            if results.lacks(file=line["way"], bits=bits):
                results.add({"bits": bits, "file": line["way"], "llama": kinds.in_llama(line["kinds"])})


def _problem(given: argparse.Namespace) -> LanguageModel:
    def text(source: str, windows: int, window: int) -> dict[str, Any]:
        bundled = source.startswith("bundled:")
        name, _, split = source.rpartition(":") if bundled else (source, "", "")
        return {"source": name, "windows": windows, "window": window} | ({"split": split} if bundled else {})

    settings = {
        "model": given.model,
        "device": "cpu",
        "dtype": "float32",
        "objective": "kl",
        "transforms": {"use": "types", "base": given.base, "types": given.types},
        "search_text": text(given.search_text, *given.search_windows),
        "report_text": text(given.report_text, *given.report_windows),
        "calibration_text": text(given.search_text, *given.calibration_windows),
        "held_out_windows": 0,
    }
    return LanguageModel(check_parameters(LanguageModel.Settings, settings, "problem"))


if __name__ == "__main__":
    main()
