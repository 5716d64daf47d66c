"""How cost grows with tokens, blocks and width, on random models made on the fly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from problems.language_model.settings import PruningSettings
from problems.texts.settings import TextSettings
from problems.texts.source import python_docs
from tests.benchmarks.candidates import unrelated
from tests.benchmarks.random_llama import POSITIONS, write
from tests.benchmarks.ways import Worker

_BLOCKS, _WIDTH = 12, 256


def growth(
    tokens: list[int], blocks: list[int], widths: list[int], rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Median seconds of an unrelated candidate, the ways in turns, on Llama-like models of heads of 64.

    By tokens with 12 blocks of width 256; by blocks and by width with an eighth of the most tokens.
    """
    part = max(tokens) // 8
    found: dict[str, Any] = {"tokens": {}, "blocks": {}, "width": {}, "part": part}
    with TemporaryDirectory(prefix="models-") as home:
        text = _text(Path(home), max(tokens))
        sizes = {(_BLOCKS, _WIDTH), *((count, _WIDTH) for count in blocks), *((_BLOCKS, width) for width in widths)}
        for depth, width in sorted(sizes):
            counts = tokens if (depth, width) == (_BLOCKS, _WIDTH) else []
            settings = _settings(write(Path(home) / f"{depth}-{width}", depth, width), text, max([part, *counts]))
            seconds = _seconds(settings, sorted({*counts, part}), rounds)
            say(f"{depth} blocks of width {width}")
            if counts:
                found["tokens"] = {way: {n: by[n] for n in counts} for way, by in seconds.items()}
            for kind, size, other in (("blocks", depth, width == _WIDTH), ("width", width, depth == _BLOCKS)):
                if other and size in {"blocks": blocks, "width": widths}[kind]:
                    for way, by in seconds.items():
                        found[kind].setdefault(way, {})[size] = by[part]
    return found


def _seconds(settings: PruningSettings, tokens: list[int], rounds: int) -> dict[str, dict[int, float]]:
    """By way and tokens."""
    rng = Random(0)
    with Worker("plain", settings) as plain, Worker("ours", settings) as ours:
        workers = {"plain": plain, "ours": ours}
        genes = plain.ask("genes")
        ours.ask("genes")
        times: dict[str, dict[int, list[float]]] = {way: {n: [] for n in tokens} for way in workers}
        for turn in range(rounds + 1):
            for count in tokens:
                genome = unrelated(rng, genes, settings.sparsity)
                for way, worker in workers.items():
                    worker.ask("forget")
                    times[way][count].append(worker.ask("timed", genome, max(1, count // POSITIONS))[0])
            if not turn:  # the first is slower
                times = {way: {n: [] for n in tokens} for way in workers}
    return {way: {n: median(seconds) for n, seconds in by.items()} for way, by in times.items()}


def _text(home: Path, tokens: int) -> Path:
    """The bundled text, as often as it takes; few tokens have over eight characters."""
    text, path = python_docs("train"), home / "text.txt"
    path.write_text(text * (1 + 8 * tokens // len(text)), encoding="utf-8")
    return path


def _settings(model: Path, text: Path, tokens: int) -> PruningSettings:
    return PruningSettings(
        model=str(model),
        search_text=TextSettings(source=str(text), window=POSITIONS, windows=max(1, tokens // POSITIONS)),
    )
