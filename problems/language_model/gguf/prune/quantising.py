"""The types of a first candidate whose matrices are quantised in time."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch

from evoprune.operators.knapsack import Floats, Units, cheapest
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.types.genes import level_bits
from evoprune.problems.language_model.gguf.types.transform import Types
from evoprune.problems.language_model.transforms.costs import BYTES

_ROWS = 64  # of noise, which are quantised
_FEW = 4.0  # times the time, from which hardly any matrix could have a slower type
_UNITS = 2000  # of the bytes that are shared out
_PRICES = np.geomspace(1e-3, 1e3, 25)  # of all the time, as multiples of the least loss


class Tried(NamedTuple):
    """A type: ``time`` for all weights, as a share of the time to quantise; ``error``: on noise, squared, relative."""

    time: float
    error: float


def tried_types(kinds: Collection[str], weights: int, seconds: float) -> dict[str, Tried]:
    """Quantise noise to each of ``kinds``, for the time that so many ``weights`` take, as a share of ``seconds``.

    Processor time, as pauses for other processes are longer than a quantisation, times the load of the machine.
    """
    begun, used = time.monotonic(), time.thread_time()
    draws, found = np.random.default_rng(0), dict[str, Tried]()
    width = max(map(ggml.block_size, ggml.COMMON))
    noise, importance = draws.standard_normal((_ROWS, width), np.float32), draws.random(width, np.float32)
    whole = weights / noise.size / torch.get_num_threads()
    for kind in sorted(kinds, reverse=True):  # Q2_K comes before the types of 3 bits and less that take longer
        if kind < "IQ4" and "Q2_K" in found and found["Q2_K"].time > _FEW:
            found[kind] = Tried(math.inf, math.inf)  # their tables alone take seconds
            continue
        ggml.quantize(noise[:1], kind, importance)  # the first call makes tables
        before = time.thread_time()
        data = ggml.quantize(noise, kind, importance)
        after = time.thread_time()
        load = (time.monotonic() - begun) / (after - used)
        squares = importance * np.square([ggml.dequantize(data, kind, width) - noise, noise])
        found[kind] = Tried(load * (after - before) * whole / seconds, float(squares[0].sum() / squares[1].sum()))
    return found


def used_types(types: Types, size: float, tried: Mapping[str, Tried]) -> set[str]:
    """Return types with which the first candidate, a file of ``size`` bytes, is quantised in time, by estimate.

    The search minimises the loss alone, among the returned types and all with estimates in ``types``. Returned are the
    types of the file that minimises the loss plus a price on time, at the lowest price that keeps the search's file in
    time; if none does, at the highest.
    """
    tried = {kind: own for kind, own in tried.items() if own.time < math.inf}
    files = _Files.within(size, types, tried)
    if files is None:
        return set()
    found, least, taken = files.cheapest(tried)
    estimated = {kind for _, kind in types.errors.divergences}
    for price in _PRICES:
        if taken <= 1:
            break
        found, *_ = files.cheapest(tried, price * least)
        *_, taken = files.cheapest(found | estimated)
    return found


@dataclass(frozen=True)
class _Files:
    """Files of at most :data:`_UNITS` units, by the ``types`` that each matrix may have, the first in the source.

    By type: estimated ``losses``, shares of the time for all in ``times``, and the units ``spent``.
    """

    types: list[list[str]]
    losses: list[Floats]
    times: list[Floats]
    spent: list[Units]

    @classmethod
    def within(cls, size: float, types: Types, tried: Mapping[str, Tried]) -> Self | None:
        """Files of ``size`` bytes; None if no types are as small, or no losses are known.

        The loss of a type without an estimate is its error on noise, times the ratio of estimated losses and errors of
        the matrix, or else of all matrices.
        """
        known_losses, matrices, ratios = types.errors.divergences, types.matrices, dict[str, float]()
        for matrix in matrices:
            if known := [kind for kind in tried if (matrix.name, kind) in known_losses]:
                losses_known = sum(known_losses[matrix.name, kind] for kind in known)
                ratios[matrix.name] = losses_known / sum(tried[kind].error for kind in known)
        if not ratios:
            return None
        weights = sum(matrix.size for matrix in matrices)
        mean = sum(ratios.values()) / sum(matrix.size for matrix in matrices if matrix.name in ratios)
        kinds, losses, times, sizes = [], [], [], []
        for matrix, gene in zip(matrices, types.genes, strict=True):
            first, width = gene.levels[0], matrix.rows(matrix.weight).shape[1]
            ratio = ratios.get(matrix.name, mean * matrix.size)
            most = level_bits(first, width)
            smaller = [kind for kind in tried if ggml.fits(kind, width) and level_bits(kind, width) < most]
            kinds.append([first, *smaller])
            losses.append(
                np.array([0.0, *(known_losses.get((matrix.name, k), ratio * tried[k].error) for k in smaller)])
            )
            times.append(np.array([0.0, *(tried[kind].time * matrix.size / weights for kind in smaller)]))
            sizes.append(np.array([level_bits(kind, width) for kind in kinds[-1]]) * matrix.size / 8)
        _, whole = types.prices(BYTES)
        unit = max(size - whole + sum(own[0] for own in sizes), 1.0) / _UNITS
        spent = [np.rint(own / unit).astype(int) for own in sizes]
        return cls(kinds, losses, times, spent) if sum(own.min() for own in spent) <= _UNITS else None

    def cheapest(self, among: Collection[str], price: float = 0.0) -> tuple[set[str], float, float]:
        """Return the types, but for the source's, of the file of least loss, its loss, and its share of the time.

        ``price``: on all the time.
        """
        costs = [
            np.where(np.isin(kinds, [kinds[0], *among]), losses + price * times, math.inf)
            for kinds, losses, times in zip(self.types, self.losses, self.times, strict=True)
        ]
        places = cheapest(costs, self.spent, _UNITS)
        loss, taken = (
            sum(own[place] for own, place in zip(each, places, strict=True)) for each in (self.losses, self.times)
        )
        return {own[place] for own, place in zip(self.types, places, strict=True) if place}, loss, taken
