"""Estimate a candidate's seconds on GPUs that are not here, from counts: ``python -m tests.benchmarks.devices``.

Counts are of GPT-2's shape, random weights in bfloat16, on a simulated device, at one and at two windows of 64 tokens;
bytes and launches of all of 8 x 1,024 follow from these two, operations from the shape. No kernel reaches the peak of
a data sheet, so an estimate is a lower bound.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from evoprune.problems.language_model.evaluation.measure import Measure, Perplexity
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.models.forward import Forward, pieces
from evoprune.problems.language_model.transforms.weights.genes import group
from evoprune.problems.language_model.transforms.weights.masks import BASE, LEVEL, Masks
from tests.cuda.simulated import counts, simulated, watched

LAUNCH = 5e-6  # seconds
WINDOWS, WINDOW, SHORT = 8, 1024, 64


class Card(NamedTuple):
    """Peak operations a second in bfloat16, dense, with sums in float32; bytes a second of its memory."""

    operations: float
    bandwidth: float
    sheet: str


CARDS = {
    "H100 SXM": Card(989e12, 3.35e12, "nvidia.com/en-us/data-center/h100"),
    "A10": Card(125e12, 0.600e12, "nvidia.com/en-us/data-center/products/a10-gpu"),
    "RTX 4090": Card(165.2e12, 1.008e12, "NVIDIA Ada GPU Architecture whitepaper, appendix A"),
}


def measured(measure: Measure, masks: Masks, windows: int) -> dict[str, float]:
    """Launches, and bytes that kernels read and write, of one candidate on ``windows`` short ones."""
    tokens = torch.arange(windows * SHORT).view(windows, SHORT)
    measure.total(tokens, Perplexity().add)
    masks.forget()
    counts.clear()
    with watched() as touched:
        masks.apply([0.45] * len(masks.groups))
        measure.total(tokens, Perplexity().add)
    return {"launches": counts["launches"], "bytes": sum(touched)}


def main() -> None:
    with simulated(1):
        config = GPT2Config()
        model: Any = GPT2LMHeadModel(config).eval().requires_grad_(False).to("cuda", torch.bfloat16)
        matrices = find_matrices(model)
        stored = {BASE + each.name: each.weight.clone() for each in matrices}
        stored |= {LEVEL + m.name: torch.zeros(m.weight.shape, dtype=torch.int16, device="cuda") for m in matrices}
        masks, measure = Masks(group(matrices, "block"), stored), Measure(Forward(model), 2**16)
        one, two = (measured(measure, masks, windows) for windows in (1, 2))
        size = sum(matrix.size for matrix in matrices)
    tokens = WINDOWS * WINDOW
    moved = one["bytes"] + (two["bytes"] - one["bytes"]) * (tokens / SHORT - 1)
    launches = one["launches"] + 6 * (len(pieces(tokens, config.vocab_size)) - 1)  # of the head and the loss
    operations = 2 * tokens * (size + config.n_embd * (config.vocab_size + config.n_layer * WINDOW))
    print(f"{launches:.0f} launches, {moved / 1e9:.1f} GB, {operations / 1e12:.2f} trillion operations")
    print("| card | launches, ms | bytes, ms | operations, ms | a candidate, ms |\n|---|---|---|---|---|")
    for name, card in CARDS.items():
        parts = [launches * LAUNCH, moved / card.bandwidth, operations / card.operations]
        cells = [*parts, max(parts[0], parts[1] + parts[2])]  # launches go on while kernels run
        print(f"| {name} | {' | '.join(f'{1000 * each:.1f}' for each in cells)} |")


if __name__ == "__main__":
    main()
