"""Moves the weights of a model off the grid of a 4-bit type, on which a dequantised model lies.

On it, that type loses nothing and others look worse than they are. Noise takes the weights off it, and distillation
from the model as it was gives back what that lost::

    python -m tests.benchmarks.off_grid MODEL.gguf noised
    python -m evoprune recover noised --teacher MODEL.gguf --text valid.txt --report-text test.txt --tokens 51200 \\
        --batch 1 --held-out 8 --evaluations 3 --out MODEL
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import nn

from evoprune.problems.language_model.models.load import load_model
from evoprune.problems.language_model.models.settings import ModelSettings

_BLOCK, _STEPS = 32, 15
"""Weights of a row that share a grid, and its steps from the least to the largest of them, as in Q4_1."""


@torch.no_grad()
def move(model: nn.Module, seed: int) -> None:
    """Add uniform noise, one step of the grid wide, to every weight of matrices and embeddings, in place."""
    random = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            blocks = parameter.view(-1, _BLOCK)
            step = (blocks.amax(1, keepdim=True) - blocks.amin(1, keepdim=True)) / _STEPS
            blocks += (torch.rand(blocks.shape, generator=random) - 0.5) * step


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="as problem.model of an experiment")
    parser.add_argument("folder", help="the folder to write, in bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    model, tokenizer = load_model(ModelSettings(model=given.model, dtype="float32", device="cpu"))
    move(model, given.seed)
    model.to(torch.bfloat16).save_pretrained(given.folder)  # type: ignore[operator]
    tokenizer.save_pretrained(given.folder)


if __name__ == "__main__":
    main()
