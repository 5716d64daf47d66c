"""The types of the first candidate: those that the time to quantise its matrices allows."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import torch

from evoprune.operators.knapsack import cheapest
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.transforms.costs import BYTES
from evoprune.problems.language_model.transforms.gguf_types.matrices import DENSE
from evoprune.problems.language_model.transforms.gguf_types.transform import Types

_ROWS = 64  # of noise, which are quantised
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
        if kind < "IQ4" and "Q2_K" in found and found["Q2_K"].time > 1:
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
    """Return the types of the matrices in a file of ``size`` bytes that is quantised within the time for it.

    The matrices have the least sum of losses, with the least price on time that suffices. Types without estimated
    losses have those of ``types``, times the ratio of errors on noise.
    """
    matrices, (_, whole) = types.matrices, types.prices(BYTES)
    tried = {kind: own for kind, own in tried.items() if own.time < math.inf}
    weights = sum(matrix.size for matrix in matrices)
    options, losses, sizes, times = [], [], [], []
    for matrix, gene in zip(matrices, types.genes, strict=True):
        first, width = gene.levels[0], matrix.rows(matrix.weight).shape[1]
        known = {kind: loss for kind in tried if (loss := types.errors.harms.get((matrix.name, kind))) is not None}
        ratio = sum(known.values()) / sum(tried[kind].error for kind in known) if known else math.inf
        most = ggml.bits(first) if first != DENSE else 16.0
        smaller = [kind for kind in tried if ggml.fits(kind, width) and ggml.bits(kind) < most]
        options.append([first, *smaller])
        losses.append(np.array([0.0, *(known.get(kind, ratio * tried[kind].error) for kind in smaller)]))
        sizes.append(np.array([most, *map(ggml.bits, smaller)]) * matrix.size / 8)
        times.append(np.array([0.0, *(tried[kind].time * matrix.size / weights for kind in smaller)]))
    unit = (size - whole + sum(own[0] for own in sizes)) / _UNITS
    spent = [np.rint(own / unit).astype(int) for own in sizes]
    if unit <= 0 or sum(own.min() for own in spent) > _UNITS:
        return set()
    least = 0.0
    for price in (0.0, *_PRICES):
        costs = [loss + price * least * time for loss, time in zip(losses, times, strict=True)]
        chosen = cheapest(costs, spent, _UNITS)
        taken = sum(own[at] for own, at in zip(times, chosen, strict=True))
        least = least or sum(own[at] for own, at in zip(losses, chosen, strict=True))
        if taken <= 1:
            break
    return {own[at] for own, at in zip(options, chosen, strict=True)}
