"""``prune MODEL`` without a goal: sizes that the model could have and about the loss of each, without a search."""

from __future__ import annotations

import math
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evoprune import InputError
from evoprune.console.formatting import digits
from evoprune.console.phase import steps
from evoprune.problems.language_model.evaluation.measure import Divergence, Measure
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.token_mask import predictions
from evoprune.problems.language_model.planning.division import Division
from evoprune.problems.language_model.planning.plan import share_out
from evoprune.problems.language_model.planning.recipe import Subject
from evoprune.problems.language_model.planning.sizes import Size, types_near
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.transforms.gguf_types.matrices import typed_matrices

_SHARES, _OF_HALVES = (0.9, 0.75, 0.6), (0.5, 0.35, 0.28)  # of the source's bytes, and of one in 16 bits
_NOISE = 0.05  # relative to the root mean square of a row, as the scales of a type are to its blocks
_SAMPLED, _ROWS = 3, 32  # matrices of a kind, and rows of each, that are quantised
_TOP = 64  # probabilities of a prediction that are compared
_HALF = 16.0  # bits of a weight that is not quantised
_TIMED = 2.0  # seconds


@dataclass(frozen=True)
class Kind:
    """Matrices of one kind: their ``weights``, and nats a token lost for each share of their squared values in errors.

    ``errors``: that share by the bits of a weight; none at those of the source.
    """

    weights: int
    harm: float
    errors: Mapping[float, float]


def kinds_of(resident: Resident, own: Mapping[str, str], tokens: torch.Tensor) -> tuple[list[Kind], float]:
    """Measure the kinds of matrices of a dense model on ``tokens`` ``(windows, window)``; and its loss, nats a token.

    The loss grows with the squared error of a layer, as long as it is small (Malinovskii et al., "Pushing the limits of
    large language model quantization via the linearity theorem", 2024): noise tells the factor. ``own``: the type of
    each matrix in the source that is quantised there, by its name.
    """
    groups: dict[str, list[Matrix]] = defaultdict(list)
    for matrix in typed_matrices(resident):
        groups[matrix.kind].append(matrix)
    measure = Measure(Forward(resident.model), tokens.numel())
    count = predictions(tokens)
    dense = Divergence(count, min(_TOP, resident.model.get_input_embeddings().weight.shape[0]))
    loss = measure.total(tokens, dense.learn) / count
    found = []
    for matrices in steps(list(groups.values()), "measuring kinds of matrices", "kind"):
        harm = _with_noise(matrices, lambda: measure.value(tokens, dense)) / _NOISE**2
        found.append(Kind(sum(each.size for each in matrices), max(harm, 1e-9), _errors(matrices, own)))
    return found, loss


def _with_noise(matrices: Sequence[Matrix], measured: Any) -> float:
    draws = torch.Generator().manual_seed(0)
    held = [each.weight.detach().clone() for each in matrices]
    with torch.no_grad():
        for each, values in zip(matrices, held, strict=True):
            noise = torch.randn(values.shape, generator=draws).to(values)
            size = each.rows(values).square().mean(-1, keepdim=True).sqrt()
            each.weight.copy_(values + _NOISE * each.laid_out(size) * noise)
        value = float(measured())
        for each, values in zip(matrices, held, strict=True):
            each.weight.copy_(values)
    return value


def _errors(matrices: Sequence[Matrix], own: Mapping[str, str]) -> dict[float, float]:
    sample = [_some(matrix) for matrix in matrices[:: max(1, len(matrices) // _SAMPLED)]]
    width = sample[0].shape[1]
    kind = own.get(matrices[0].name)
    most = ggml.bits(kind) if kind else _HALF
    found = {most: 0.0}
    for each in {kind for bits in (7, 5, 4, 3) for kind in types_near(bits, [width], [], fast=False)}:
        bits = ggml.bits(each)
        if bits < most:
            parts = [_squares(rows, each) for rows in sample]
            error = sum(lost for lost, _ in parts) / sum(whole for _, whole in parts)
            found[bits] = min(error, found.get(bits, math.inf))
    return found


def _some(matrix: Matrix) -> torch.Tensor:
    rows = matrix.rows(matrix.weight).flatten(0, -2)
    return rows[:: max(1, len(rows) // _ROWS)].float().cpu()


def _squares(rows: torch.Tensor, kind: str) -> tuple[float, float]:
    weights = rows.numpy()
    again = ggml.dequantize(ggml.quantize(weights, kind), kind, weights.shape[1])
    return float(((again - weights) ** 2).sum()), float((weights**2).sum())


def lost_at(kinds: Sequence[Kind], saved: float) -> float | None:
    """Return the nats a token that are lost where types save so many bytes, divided among ``kinds`` at the least loss.

    None if no types save as much.
    """
    moves = sorted(move for kind in kinds for move in _moves(kind))
    total = 0.0
    for price, size in moves:
        total += price * min(size, saved)
        saved -= size
        if saved <= 0:
            return total
    return None


def _moves(kind: Kind) -> Iterator[tuple[float, float]]:
    """Nats for each byte that is saved, and bytes, along the lower hull of bits and errors."""
    bits = max(kind.errors)
    while below := [each for each in kind.errors if each < bits]:

        def price(to: float, of: float = bits) -> float:
            return (kind.errors[to] - kind.errors[of]) / (of - to)

        best = min(below, key=price)
        size = kind.weights * (bits - best) / 8
        yield kind.harm * (kind.errors[best] - kind.errors[bits]) / size, size
        bits = best


def overview(
    model: str, resident: Resident, subject: Subject, text: Division, tokens: torch.Tensor, given: Sequence[str]
) -> list[str]:
    """Return lines on sizes that the model could have, their losses and the commands that make them.

    ``tokens`` ``(windows, window)``: of the text for the search. ``given``: the option that named it, and its name.
    """
    from evoprune.problems.language_model.gguf.base import find_base
    from evoprune.problems.language_model.transforms.gguf_types.source import source_types

    if lacking := ggml.missing():
        raise InputError(lacking, model)
    matrices, own = typed_matrices(resident), {}
    is_file = model.endswith(".gguf")
    whole = 2.0 * resident.parameters
    if is_file:
        whole = float(Path(model).expanduser().stat().st_size)
        encoded = source_types(resident.model, find_base(resident, None), matrices)
        own = {name: each.kind for name, each in encoded.items()}
    kinds, loss = kinds_of(resident, own, tokens)
    scored = tokens[tokens >= 0]
    letters = len(resident.tokenizer.decode(scored).encode()) / len(scored)
    lines = [_now(model, resident, whole, is_file)]
    lines.append(f"what types of matrices alone would lose, before training, by {tokens.numel():,} tokens of the text:")
    for share in _SHARES if own else _OF_HALVES:
        size = share * whole
        lost = lost_at(kinds, whole - size)
        recipe = Size(round(size))
        _, _, shares = share_out(recipe, subject, text, 0.0)
        least = max(1, math.ceil(shares.seconds / 60))
        if lost is None:
            told = f"no types are as small: {'experts' if subject.experts else 'heads and channels'} go, too"
        else:
            told = f"about {digits(lost / letters / math.log(2), 2)} bits per byte ({lost / loss:.1%})"
        lines += [
            f"  {megabytes(size)}, {share:.0%}: {told}; {least} min at least",
            f"    {_command(model, size, given)}",
        ]
    return [*lines, "faster, or with fewer tokens: --speedup 1.3, --vocabulary TEXT; all goals: prune --help"]


def _now(model: str, resident: Resident, whole: float, is_file: bool) -> str:
    told = f"{model}: {megabytes(whole)}{'' if is_file else ' in 16 bits'}, {resident.parameters:,} parameters"
    if not is_file:
        return told
    from evoprune.problems.language_model.gguf.runtime import decoding_speed

    speed = decoding_speed(Path(model).expanduser(), _TIMED)
    return f"{told}; generates {digits(speed, 3)} tokens/s in llama.cpp" if speed else told


def _command(model: str, size: float, given: Sequence[str]) -> str:
    asked = megabytes(size).replace(",", "").replace(" ", "")
    words = ["python", "-m", "evoprune", "prune", model, "--size", asked, *given, "--out", "smaller.gguf"]
    return shlex.join(words)
