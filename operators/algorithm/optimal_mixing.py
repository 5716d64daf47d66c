"""Optimal mixing in a pyramid of populations, which learns which genes belong together."""

import random
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from itertools import islice, repeat

import numpy
from deap import base

from evoprune import Algorithm, Evaluate, Generation, Genes, Individual
from evoprune.operators.algorithm.breeding import Genomes, first_population, fittest, repaired

_TRIED = 32  # values of a gene that a climb tries, at most
_BINS = 8  # of the values of a gene, where its dependence on others is measured
_GROWTH = 1.1  # of a population until its tree is built anew
_FAILURES = 2  # for each gene: mutants of the best without a gain, until the next start
Move = Callable[[Individual], Individual | None]  # a changed child, or None where there is nothing to change
Steps = Generator[Evaluate | Generation, None, Individual]


def optimal_mixing(toolbox: base.Toolbox, *, population: int, initial_genomes: Genomes, genes: Genes) -> Algorithm:
    """Climb by single genes, then take from earlier optima the genes that belong together, and mutate the best.

    The parameter-less population pyramid (Goldman and Punch, GECCO 2014) with gene-pool optimal mixing (Thierens and
    Bosman, GECCO 2011). ``population`` moves are scored at once, and then all that gain together. ::

        for each start, random after the first genomes:
            current = start, changed in single genes while one gains; it joins the lowest population
            for each population, from the lowest:
                for each subset of its linkage tree, from the smallest:
                    current takes these genes from a random member, unless it gets worse
                if current has gained, it joins the next population
            best = the best so far, mutated until 2 * genes mutants in a row do not gain
    """
    starts = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    yield Evaluate(starts)
    starts = fittest(starts, len(starts))
    pyramid = _Pyramid(toolbox, genes, population, starts[0])
    while True:
        for start in starts:
            yield from pyramid.climbed(start)
        starts = first_population(toolbox, 1, ())
        yield Evaluate(starts)


class _Pyramid:
    """Populations of local optima, each better than those below, and the best genome so far."""

    def __init__(self, toolbox: base.Toolbox, genes: Genes, at_once: int, best: Individual) -> None:
        self._toolbox, self._genes, self._at_once, self._best = toolbox, genes, at_once, best
        self._free = [place for place, gene in enumerate(genes) if gene.free]
        self._populations: list[_Population] = []
        self._joined: set[tuple[float, ...]] = set()

    def climbed(self, start: Individual) -> Algorithm:
        """Let a scored ``start`` climb through all populations, and then the best genome by mutation."""
        yield Generation([self._best])
        current = yield from self._climb(start)
        self._join(0, current)
        for level in range(len(self._populations)):
            before = current.fitness
            current = yield from self._follow(current, self._populations[level].moves(self._child))
            if current.fitness > before:
                self._join(level + 1, current)
        yield from self._mutate(self._best)

    def _climb(self, current: Individual) -> Steps:
        gained = True
        while gained:
            steps = [(place, value) for place in self._free for value in self._values(place)]
            random.shuffle(steps)
            before = current.fitness
            current = yield from self._follow(current, [self._step(*step) for step in steps], ties=False)
            gained = current.fitness > before
        return current

    def _values(self, place: int) -> list[float]:
        gene = self._genes[place]
        if not gene.levels:
            return [gene.random() for _ in range(_TRIED)]
        return [float(level) for level in random.sample(range(len(gene.levels)), min(_TRIED, len(gene.levels)))]

    def _step(self, place: int, value: float) -> Move:
        return lambda parent: self._child(parent, {place: value})

    def _mutate(self, current: Individual) -> Algorithm:
        failures = 0
        while failures < _FAILURES * len(self._free):
            before = current.fitness
            current = yield from self._follow(current, repeat(self._mutant, self._at_once))
            failures = 0 if current.fitness > before else failures + self._at_once

    def _mutant(self, parent: Individual) -> Individual:
        (child,) = self._toolbox.mutate(parent.child())
        (child,) = self._toolbox.mutate(child)  # as the climb has tried single changes
        return repaired(self._toolbox, child)

    def _follow(self, current: Individual, moves: Iterable[Move], ties: bool = True) -> Steps:
        """Make the ``moves`` that gain, or with ``ties`` do no harm; a generation for each few scored at once."""
        children = (child for move in moves if (child := move(current)))
        while tried := [*islice(children, self._at_once)]:
            yield Evaluate(tried)
            before = current.fitness
            gains = [child for child in tried if child.fitness > before or (ties and child.fitness == before)]
            leaders = fittest(gains, len(gains))
            if len(leaders) > 1:
                changes: dict[int, float] = {}
                for child in reversed(leaders):
                    changes |= {place: child[place] for place in self._free if child[place] != current[place]}
                if together := self._child(current, changes):
                    yield Evaluate([together])
                    leaders = fittest([together, *leaders], 1)
            current = leaders[0] if leaders else current
            (self._best,) = fittest([current, self._best], 1)
            yield Generation([self._best])
        return current

    def _child(self, parent: Individual, changes: dict[int, float]) -> Individual | None:
        """Return a repaired child of ``parent`` with ``changes`` by gene; None where it is equal."""
        child = parent.child()
        for place, value in changes.items():
            child[place] = value
        child = repaired(self._toolbox, child)
        return None if child.genome == parent.genome else child

    def _join(self, level: int, optimum: Individual) -> None:
        if optimum.genome in self._joined:
            return
        self._joined.add(optimum.genome)
        if level == len(self._populations):
            self._populations.append(_Population(self._genes))
        self._populations[level].members.append(optimum)


class _Population:
    def __init__(self, genes: Genes) -> None:
        self.members: list[Individual] = []
        self._low = genes.low
        self._widths = [max((gene.up - gene.low) / _BINS, 1.0 if gene.levels else 1e-300) for gene in genes]  # of bins
        self._tree: list[list[int]] = []
        self._grown = 0.0  # members with which the tree is built anew

    def moves(self, child: Callable[[Individual, dict[int, float]], Individual | None]) -> list[Move]:
        """Return a move for each subset of the tree: to take its genes from a random member that differs in them."""
        if len(self.members) >= self._grown:
            binned = ((numpy.array(self.members) - self._low) // self._widths).astype(int)
            self._tree, self._grown = linkage_tree(binned), _GROWTH * len(self.members)
        subsets = random.sample(self._tree, len(self._tree))

        def move(subset: Sequence[int], parent: Individual) -> Individual | None:
            for donor in random.sample(self.members, len(self.members)):
                if changes := {place: donor[place] for place in subset if donor[place] != parent[place]}:
                    return child(parent, changes)
            return None

        return [partial(move, subset) for subset in sorted(subsets, key=len)]


def linkage_tree(members: numpy.ndarray) -> list[list[int]]:
    """Return the subsets of several genes, but not all, that average-linkage clustering joins.

    ``members``: int ``(count, genes)``, from 0. The distance of two genes is 1 - I / H of their mutual
    information and joint entropy. Subsets within one of equal information (distance 0) are left out.
    """
    count, size = members.shape
    present = (members[:, :, None] == numpy.arange(members.max() + 1)).reshape(count, -1) / numpy.sqrt(count)
    shares = (present.T @ present).reshape(size, -1, size, members.max() + 1)
    entropy = -(shares * numpy.log(numpy.where(shares > 0, shares, 1))).sum(axis=(1, 3))
    single = entropy.diagonal()
    shared = single[:, None] + single - entropy
    far = numpy.where(entropy > 1e-9, 1 - shared / numpy.maximum(entropy, 1e-9), 0.0)
    numpy.fill_diagonal(far, numpy.inf)
    clusters = [[place] for place in range(size)]
    tree = {id(each): each for each in clusters}
    for _ in range(size - 1):
        first, second = divmod(int(far.argmin()), size)
        if far[first, second] < 1e-9:
            del tree[id(clusters[first])], tree[id(clusters[second])]
        sizes = len(clusters[first]), len(clusters[second])
        far[first] = far[:, first] = numpy.average(far[[first, second]], axis=0, weights=sizes)
        far[second] = far[:, second] = far[first, first] = numpy.inf
        clusters[first] = clusters[first] + clusters[second]
        tree[id(clusters[first])] = clusters[first]
    return [subset for subset in tree.values() if 1 < len(subset) < size]
