"""Measures how candidates are scored against other ways of doing it; prints, and asserts no times.

Run it from the project's folder. Without arguments, the bundled model:

    python -m tests.benchmarks.evaluator --json performance.json

A GGUF file and texts of one's own, eight windows of 512 tokens, some of the sections:

    python -m tests.benchmarks.evaluator --model SmolLM2-135M-Instruct.Q4_1.gguf \\
        --text wikitext-2/valid.txt --window 512 --windows 8 --sections race memory --compile

Sections:

    memory      peak memory of each way, and of two processes that share weights
    race        candidates a second of the plain way, EvoPress's way and ours, and the floor, in turns
    profile     where our time goes
    agreement   bfloat16 against float32, and float32 against transformers' own forward
    kl          what keeping a part of the dense model's probabilities loses
    engine      the share of a run that is not spent in scoring
    growth      cost against tokens, blocks and width, on random models

``--json`` keeps what other sections an earlier call has left in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from problems.language_model.settings import PruningSettings
from problems.models.settings import BUNDLED_MODEL
from problems.texts.settings import BUNDLED_TEXT, TextSettings

SECTIONS = ("memory", "race", "profile", "agreement", "kl", "engine", "growth")
"""In this order: the memory of processes is told before this one maps torch too."""


def main(arguments: list[str] | None = None) -> int:
    """Measure what ``arguments`` ask for; print it, and write it down."""
    options = _parser().parse_args(arguments)
    figures = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    settings = _settings(options)
    for section in (name for name in SECTIONS if name in options.sections):
        _say(f"{section} ...")
        start = time.perf_counter()
        found = _MEASURES[section](settings, options)
        _say(f"{section} took {time.perf_counter() - start:.1f} s")
        print(json.dumps({section: found}, indent=1), flush=True)
        figures[section] = found
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    if options.figures:
        from tests.benchmarks.drawing import draw

        draw(figures, options.figures)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=BUNDLED_MODEL, help="as problem.model of an experiment")
    parser.add_argument("--text", default=BUNDLED_TEXT, help="a .txt file, or the bundled text")
    parser.add_argument("--window", type=int, default=256, help="tokens in a window")
    parser.add_argument("--windows", type=int, default=8, help="windows")
    parser.add_argument("--sparsity", type=float, default=0.45, help="of the prunable weights")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument("--rounds", type=int, default=6, help="turns of the race, and of growth half as many")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile as one more way")
    parser.add_argument("--candidates", type=int, default=40, help="compared between number formats")
    parser.add_argument("--climb", type=int, default=60, help="steps to an optimum to compare around")
    parser.add_argument("--optimum", type=Path, help="a run's result.json, whose best genome is that optimum")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes: to see that it works")
    parser.add_argument("--json", type=Path, help="where all figures go")
    parser.add_argument("--figures", type=Path, help="a folder for performance.png and performance_tokens.png")
    return parser


def _settings(options: argparse.Namespace) -> PruningSettings:
    split = "validation" if options.text == BUNDLED_TEXT else None
    if options.quick:
        options.window, options.windows = min(options.window, 64), min(options.windows, 2)
        options.rounds, options.candidates, options.climb = 2, 6, 2
    return PruningSettings(
        model=options.model,
        sparsity=options.sparsity,
        search_text=TextSettings(source=options.text, split=split, window=options.window, windows=options.windows),
        report_text=TextSettings(source=BUNDLED_TEXT, split="test"),
    )


def _race(settings: PruningSettings, options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks.race import race

    return race(settings, options.rounds, options.compile, _say)


def _memory(settings: PruningSettings, options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks.memory import memory

    return memory(settings, options.rounds, [settings.reuse_mib] if options.quick else [settings.reuse_mib, 128, 0])


def _profile(settings: PruningSettings, options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks.breakdown import breakdown

    return breakdown(settings)


def _agreement(settings: PruningSettings, options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks.agreement import agreement

    optimum = json.loads(options.optimum.read_text())["best"]["genome"] if options.optimum else None
    return agreement(settings, options.candidates, options.climb, optimum)


def _kl(settings: PruningSettings, options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks.divergence import divergence

    return divergence(settings, candidates=3, windows=2)


def _engine(settings: PruningSettings, options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks.engine import engine

    small = ["population=4", "generations=1", "problem.search_text.windows=1", "problem.report_text.windows=1"]
    return engine([*small, "problem.curve=[]"] if options.quick else [])


def _growth(settings: PruningSettings, options: argparse.Namespace) -> dict[str, Any]:
    from tests.benchmarks.growth import growth

    if options.quick:
        return growth([512, 1024], [12], [256], 1, _say)
    return growth([2**power for power in range(9, 16)], [6, 12, 24], [128, 256, 512], max(1, options.rounds // 2), _say)


_MEASURES: dict[str, Callable[[PruningSettings, argparse.Namespace], dict[str, Any]]] = {
    "race": _race,
    "memory": _memory,
    "profile": _profile,
    "agreement": _agreement,
    "kl": _kl,
    "engine": _engine,
    "growth": _growth,
}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
