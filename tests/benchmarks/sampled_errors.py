"""Measure how far errors of types estimated on some rows are from those of all rows, and what a knapsack loses by it.

    python -m tests.benchmarks.sampled_errors MODEL.gguf --text TEXT.txt --every 4

With ``--every``, blocks are left out, as all rows of a large model take long.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import numpy as np
import torch

from evoprune.operators.knapsack import cheapest
from evoprune.problems.language_model.calibration.sensitivity import sensitivity
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.types.errors import draw_samples
from evoprune.problems.language_model.gguf.types.importance import measure_importance
from evoprune.problems.language_model.gguf.types.matrices import typed_matrices
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.windows import cut_windows
from tests.benchmarks.common import head, losses_of, row

COUNTS = (16, 32, 64, 128)  # rows
UNITS = 20_000  # of the knapsack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument(
        "--types", nargs="+", default=["Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K", "IQ4_NL", "Q4_0"]
    )
    options = parser.parse_args()
    resident = Resident.load(ModelSettings(model=options.model))
    tokens = cut_windows(TextSettings(source=options.text, window=256, windows=4), resident.tokenizer, "text").tokens
    every = [matrix for matrix in typed_matrices(resident) if matrix.block % options.every == 0]
    importance = measure_importance(resident, tokens)
    sensitive = sensitivity(resident.model, tokens, every)
    level_losses: dict[int, list[dict[str, float]]] = {}
    seconds = {}
    for count in (*COUNTS, 10**9):
        begun = time.process_time()
        level_losses[count] = losses_of(every, draw_samples(every, sensitive, count), importance, options.types)
        seconds[count] = time.process_time() - begun
    true = level_losses.pop(10**9)
    sizes = [{kind: ggml.bits(kind) * each.size / 8 for kind in own} for each, own in zip(every, true, strict=True)]
    weights = sum(each.size for each in every)
    print(f"{options.model}: {len(every)} matrices, {weights:,} weights; all rows took {seconds[10**9]:,.0f} CPU s")
    print(head("rows", "CPU s", "difference, median", "90%", "largest", *(f"lost at {b} bits" for b in (3, 4, 5))))
    for count, estimates in level_losses.items():
        off = np.array([abs(mine[k] / own[k] - 1) for mine, own in zip(estimates, true, strict=True) for k in own])
        lost = [solved(estimates, true, sizes, bits * weights / 8) for bits in (3, 4, 5)]
        quantiles = (np.median(off), np.quantile(off, 0.9), off.max())
        shares = [f"{each:.1%}" for each in quantiles] + [f"{each:.2%}" for each in lost]
        print(row(count, f"{seconds[count]:.0f}", *shares))


def solved(
    estimates: list[Mapping[str, float]], true: list[Mapping[str, float]], sizes: list[Mapping[str, float]], most: float
) -> float:
    """The share by which the level_loss of the knapsack's choice by ``estimates`` is above that of the best one."""
    spent = [np.ceil([own[kind] / most * UNITS for kind in own]).astype(int) for own in sizes]
    total = []
    for costs in (estimates, true):
        chosen = cheapest([np.array([*own.values()]) for own in costs], spent, UNITS)
        total.append(sum([*own.values()][level] for own, level in zip(true, chosen, strict=True)))
    return total[0] / total[1] - 1


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
