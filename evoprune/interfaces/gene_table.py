"""The genes of a genome as a table: a column for each of their fields, and the genes that decide on others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Self

from evoprune.console.errors import as_tuple, cut_repr
from evoprune.interfaces.gene import Gene, GeneError


class GeneTable(tuple[Gene, ...]):
    """Genes with different names, at least one."""

    def __new__(cls, genes: Iterable[Gene]) -> Self:
        self = super().__new__(cls, as_tuple(genes, "genes"))
        if not self:
            raise GeneError("expected at least one gene")
        earlier: dict[str, Gene] = {}
        for gene in self:
            if not isinstance(gene, Gene):
                raise GeneError(f"genes: expected a list of Gene, got {cut_repr(gene)} in it")
            if gene.name in earlier:
                raise GeneError("expected another name for each gene")
            if gene.when and (gene.when[0] not in earlier or earlier[gene.when[0]].place(gene.when[1]) is None):
                got = cut_repr(gene.when)
                raise GeneError(f"gene '{gene.name}': expected an earlier gene and one of its levels, got {got}")
            earlier[gene.name] = gene
        return self

    @cached_property
    def names(self) -> list[str]:
        return [gene.name for gene in self]

    @cached_property
    def low(self) -> list[float]:
        return [gene.low for gene in self]

    @cached_property
    def up(self) -> list[float]:
        return [gene.up for gene in self]

    @cached_property
    def free(self) -> list[int]:
        """Places of the genes with more than one value."""
        return [place for place, gene in enumerate(self) if gene.free]

    @cached_property
    def unordered(self) -> list[int]:
        return [place for place, gene in enumerate(self) if not gene.ordered]

    @cached_property
    def spans(self) -> list[float]:
        return [gene.span for gene in self]

    @cached_property
    def with_levels(self) -> list[int]:
        return [place for place, gene in enumerate(self) if gene.levels]

    @cached_property
    def size(self) -> float:
        """Number of different genomes; infinite where a gene without levels is free."""
        decided: dict[str, dict[Any, list[Gene]]] = {}  # the conditional genes by the deciding gene and its level
        for gene in self:
            if gene.when:
                decided.setdefault(gene.when[0], {}).setdefault(gene.when[1], []).append(gene)

        def product(genes: Iterable[Gene]) -> float:
            return math.prod(map(values, genes), start=1.0)

        def values(gene: Gene) -> float:
            if not gene.levels:
                return math.inf if gene.free else 1.0
            of_level = decided.get(gene.name, {})
            return len(gene.levels) - len(of_level) + sum(map(product, of_level.values()))

        return product(gene for gene in self if not gene.when)

    @cached_property
    def conditions(self) -> list[tuple[int, int, float]]:
        """Places of each conditional gene and its deciding gene, and the level of the latter that activates it."""
        places = {name: place for place, name in enumerate(self.names)}
        return [
            (place, places[gene.when[0]], self[places[gene.when[0]]].encoded(gene.when[1]))
            for place, gene in enumerate(self)
            if gene.when
        ]

    def inactive(self, genome: Sequence[float]) -> set[int]:
        """Places of the genes whose condition ``genome`` does not meet, or whose deciding gene is itself inactive."""
        places: set[int] = set()
        for place, decides, level in self.conditions:
            if genome[decides] != level or decides in places:
                places.add(place)
        return places

    @cached_property
    def of_levels(self) -> list[tuple[int, Sequence[Any]]]:
        return [(place, self[place].levels) for place in self.with_levels]

    @cached_property
    def logarithmic(self) -> list[int]:
        return [place for place, gene in enumerate(self) if gene.exponent and not gene.levels]
