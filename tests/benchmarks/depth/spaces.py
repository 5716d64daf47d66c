"""What is searched: whole blocks; attentions and MLPs in equal numbers; and both at a free ratio."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from deap import base

from evoprune import Additive, Budget, Gene, Genes, Individual
from operators.mutation.exchange import exchange
from operators.repair.shift import shift
from tests.benchmarks.depth.enumerate import BLOCKS, DROPPED, Pair, pairs, whole_blocks

KEPT = BLOCKS - DROPPED


class EqualNumbers(Budget):
    """At most so many attentions and so many MLPs are kept; to keep fewer of one saves nothing."""

    def __init__(self, genes: Genes) -> None:
        super().__init__(genes, 2.0 * KEPT, "sublayers")
        self.weights = [1.0 if gene.free else 0.0 for gene in genes]

    def spent(self, genome: Sequence[float]) -> float:
        """The kept ones of each kind, counted as the limit where there are fewer."""
        return sum(max(BLOCKS - sum(genome[kind::2]), float(KEPT)) for kind in (0, 1))

    def saves(self, gene: int) -> bool:
        """Dropping saves."""
        return True


@dataclass(frozen=True)
class Space:
    """Genes that are dropped or kept: ``each`` 1 for a block, 2 for its attention and its MLP; ``budget``: by name."""

    each: int
    free_ratio: bool = False
    protected: frozenset[int] = frozenset()

    @cached_property
    def genes(self) -> Genes:
        """In the order of the blocks."""
        names = [(block, kind) for block in range(BLOCKS) for kind in range(self.each)]
        levels = ("keep", "drop")
        return Genes([Gene.of_levels(f"{b} {k}", levels[:1] if b in self.protected else levels) for b, k in names])

    @cached_property
    def budget(self) -> Budget:
        """A quarter of the blocks' weights goes: an attention has a third of a block's, an MLP two thirds."""
        if self.each == 2 and not self.free_ratio:
            return EqualNumbers(self.genes)
        sizes = [3.0] * BLOCKS if self.each == 1 else [1.0, 2.0] * BLOCKS
        prices = [[0.0, -size][: len(gene.levels)] for size, gene in zip(sizes, self.genes, strict=True)]
        return Additive(self.genes, prices, 3.0 * KEPT, "thirds of a block", 3.0 * BLOCKS)

    @cached_property
    def kinds(self) -> list[list[int]]:
        """The places of the free genes of each kind."""
        return [[gene for gene in self.genes.free if gene % self.each == kind] for kind in range(self.each)]

    def pair(self, genome: Sequence[float]) -> Pair:
        """The masks of what ``genome`` drops."""
        masks = [sum(1 << b for b, v in enumerate(genome[kind :: self.each]) if v) for kind in range(self.each)]
        return masks[0], masks[-1]

    def candidates(self) -> list[Pair]:
        """All removals that spend the limit exactly, but for a free ratio: of equal numbers."""
        found = pairs() if self.each == 2 else [pair for pair in whole_blocks() if pair[0].bit_count() == DROPPED]
        shut = sum(1 << block for block in self.protected)
        return [pair for pair in found if not (pair[0] | pair[1]) & shut]

    def enumerated(self) -> int:
        """The evaluations of an enumeration: of all subsets of blocks, or of all pairs."""
        return 2 ** (BLOCKS - len(self.protected)) if self.each == 1 else len(self.candidates())

    def windows(self) -> list[list[float]]:
        """The genomes that drop consecutive blocks."""
        free = [gene for gene in range(BLOCKS) if gene not in self.protected]
        runs = [range(start, start + DROPPED) for start in range(BLOCKS - DROPPED + 1)]
        return [[float(b in run) for b in range(BLOCKS) for _ in range(self.each)] for run in runs if {*run} <= {*free}]

    def toolbox(self, moves: int = 3) -> base.Toolbox:
        """Random genomes with as many of each kind dropped, and what searches change them with."""
        tools = base.Toolbox()
        tools.register("individual", self._random)
        tools.register("mutate", exchange, genes=self.genes, budget=self.budget, moves=moves)
        repair = partial(shift, genes=self.genes, budget=self.budget) if self.free_ratio else lambda one: (one,)
        tools.register("repair", repair)
        return tools

    def _random(self) -> Individual:
        dropped = {gene for kind in self.kinds for gene in random.sample(kind, DROPPED)}
        return Individual(float(gene in dropped) for gene in range(len(self.genes)))
