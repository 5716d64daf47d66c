"""The genomes that every way is given: on a grid of levels, as EvoPress needs them."""

from __future__ import annotations

from random import Random

STEP = 0.05
"""Between two levels of the grid."""

_SPREAD = 3
"""Steps that an unrelated candidate's genes lie around the target, at most, before they are balanced."""


def unrelated(rng: Random, genes: int, sparsity: float) -> list[float]:
    """Levels drawn evenly around ``sparsity``, then moved by steps until their mean is that of the target."""
    steps = [rng.randint(-_SPREAD, _SPREAD) for _ in range(genes)]
    while sum(steps):
        steps[rng.randrange(genes)] -= 1 if sum(steps) > 0 else -1
    return _moved([sparsity] * genes, dict(enumerate(steps)))


def child(rng: Random, parent: list[float], changed: int | None = None) -> list[float]:
    """``parent`` with ``changed`` genes (2 to 6, drawn if None) moved by a step or two; the mean stays."""
    changed = min(changed or rng.randint(2, 6), len(parent))
    steps = [1, -1] * (changed // 2) if changed % 2 == 0 else [2, -1, -1] + [1, -1] * (changed // 2 - 1)
    rng.shuffle(steps)
    return _moved(parent, dict(zip(rng.sample(range(len(parent)), changed), steps, strict=True)))


def _moved(genome: list[float], steps: dict[int, int]) -> list[float]:
    moved = [round(gene + STEP * steps.get(index, 0), 10) for index, gene in enumerate(genome)]
    return [min(0.95, max(0.0, gene)) for gene in moved]
