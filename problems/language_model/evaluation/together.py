"""Scores several candidates in one run of the model: all candidates pass a block before the next block runs."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from math import prod
from typing import TypeVar

import torch
from torch import Tensor, nn

from evoprune.problems.language_model.evaluation.measure import Add, Batch, Measure, summed
from evoprune.problems.language_model.evaluation.prefix_cache import PrefixCache, prefixes
from evoprune.problems.language_model.models.device import map_in_threads
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.lazy_weights import (
    LazyForward,
    Weights,
    is_offloaded,
    lazy_forwards,
    materialise,
    materialised,
    prefetched,
    restore_lazy_forwards,
)
from evoprune.problems.language_model.models.memory import Placement

_SHARE = 0.1  # of the free memory, at most, for the hidden states of all candidates; more are mapped from a file

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Candidate:
    """A candidate: ``fingerprints`` of blocks, ``lazy`` weights, and the function that sums the loss."""

    fingerprints: Sequence[Hashable]
    lazy: Mapping[nn.Module, LazyForward]
    add: Add


def totals_together(
    measure: Measure, tokens: Tensor, candidates: Sequence[Candidate], cache: PrefixCache
) -> list[list[float]]:
    """Return :meth:`Measure.totals` of each candidate, the same bits; equal first blocks run once.

    ``cache``: states of earlier candidates. Raises OSError if the disk has no space for the states.
    """
    before = lazy_forwards(measure.forward.model)
    try:
        return measure.halving(tokens, cache, lambda windows: _totals(measure, tokens, windows, candidates, cache))
    finally:
        restore_lazy_forwards(measure.forward.model, before)


def _totals(
    measure: Measure, tokens: Tensor, windows: int, candidates: Sequence[Candidate], cache: PrefixCache
) -> list[list[float]]:
    forward, device = measure.forward, measure.forward.device
    batches = measure.batches(tokens, windows)
    states = _empty_states((len(candidates), *tokens.shape, forward.width), forward)
    places = [*range(len(candidates))]  # index of each candidate's states: candidates alike so far share the first's

    def of_batches(work: Callable[[Batch], _Result]) -> Iterable[_Result]:
        return [*(map_in_threads(work, batches) if device.type == "cpu" else map(work, batches))]

    def advance(block: int, first: int, weights: Weights | None) -> None:
        """Run candidate ``first`` through ``block``."""
        source, target = states[places[first]], states[first]
        with forward.through(block, weights) as run:

            def write(batch: Batch) -> None:
                target[batch.rows] = run(batch.tokens, source[batch.rows].to(device) if block else None)

            of_batches(write)

    def total(place: int, add: Add) -> list[float]:
        """Return the losses that ``add`` sums, from the states after the last block."""
        with materialised(forward.modules(forward.depth)), forward.resumed(forward.depth, []) as run:

            def losses(batch: Batch) -> list[Tensor]:
                output, _ = run(batch.tokens, states[place, batch.rows].to(device))
                return measure.losses(output, batch, add)

            return summed(chain.from_iterable(of_batches(losses)))

    starts = [_start(candidate, states[place], batches, cache) for place, candidate in enumerate(candidates)]
    steps = [*_steps(starts, [prefixes(candidate.fingerprints) for candidate in candidates], forward.depth)]
    weights: Iterable[Weights | None] = repeat(None)
    if is_offloaded(forward.model):
        makes = (partial(materialise, forward.modules(block), candidates[group[0]].lazy) for block, group in steps)
        weights = prefetched(makes, device)
    for (block, group), made_ahead in zip(steps, weights, strict=False):
        first = group[0]
        restore_lazy_forwards(forward.model, candidates[first].lazy)
        advance(block, first, made_ahead)
        for number in group:
            places[number] = first
        if block + 1 in cache.checkpoints(0):
            cache.set_candidate(candidates[first].fingerprints)
            for batch in batches:
                cache.store(batch.first, {block + 1: states[first, batch.rows].clone()})
    totals = []
    for place, candidate in zip(places, candidates, strict=True):
        restore_lazy_forwards(forward.model, candidate.lazy)
        totals.append(total(place, candidate.add))
    return totals


def _steps(starts: Sequence[int], hashes: Sequence[Sequence[bytes]], depth: int) -> Iterator[tuple[int, list[int]]]:
    """Yield each block with each group of candidates that are alike up to it: it runs once for the group."""
    for block in range(depth):
        alike: dict[bytes, list[int]] = {}
        for number, start in enumerate(starts):
            if start <= block:
                alike.setdefault(hashes[number][block + 1], []).append(number)
        for group in reversed(alike.values()):  # a candidate whose result replaces shared states comes last
            yield block, group


def _start(candidate: Candidate, states: Tensor, batches: Sequence[Batch], cache: PrefixCache) -> int:
    """Return the first block that ``candidate`` has to run, and write the cached states before it to ``states``."""
    cache.set_candidate(candidate.fingerprints)
    cached = [cache.longest(batch.first, len(batch.tokens)) for batch in batches]
    if len({start for start, _ in cached}) > 1:
        return 0
    for batch, (_, state) in zip(batches, cached, strict=True):
        if state is not None:
            states[batch.rows] = state
    return cached[0][0]


def _empty_states(shape: tuple[int, ...], forward: Forward) -> Tensor:
    """Return a tensor for states: on the device, in main memory, or mapped from an unnamed file."""
    dtype = forward.model.dtype
    for device in dict.fromkeys((forward.device, torch.device("cpu"))):
        placement = Placement.of("scoring", device, prod(shape) * dtype.itemsize, share=_SHARE)
        if placement.resident:
            break
    return placement.empty(shape, dtype)
