"""The goal ``vocabulary`` of the command ``prune``: the number of tokens that a text needs. Imports no torch."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from evoprune import InputError
from evoprune.problems.language_model.prune.experiments import experiment, two_digits
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.prune.interfaces import Goal, Json, Setup
from evoprune.problems.language_model.results.summary import megabytes

if TYPE_CHECKING:  # it imports torch
    from evoprune.problems.language_model.vocabulary.order import Order

_OPTION = "--vocabulary"
_LOST = 0.02  # expected nats a token that tokens left out may cost, about a hundredth
_LITTLE = 0.1  # share of the file: for less, types of fewer bits lose less (docs/measurements/vocabulary.md)
_MUCH, _FEW = 0.4, 4.0  # share of the file in rows of tokens, and bits a weight, for which fewer tokens lose less
_RATE = 2.5e-4  # of a training of all weights, times their size


class Vocabulary(Goal):
    """The model without the tokens that a text hardly needs: docs/vocabulary.md. ``value``: tokens that stay."""

    name = "vocabulary"

    @property
    def label(self) -> str:
        return self.name

    def measured(self, planning: Any) -> Self:
        resident, headers = planning.resident, planning.headers
        rows = len(resident.model.get_input_embeddings().weight)
        order, count = needed_tokens(resident.tokenizer, rows, planning.vocabulary, planning.parts["search"])
        planning.output.remarks.append(_forecast(headers, rows, order, count))
        return replace(self, value=count)

    def experiment(self, setup: Setup) -> Json:
        types = setup.output.types(chosen=False)
        problem = {
            "use": "language_model",
            "transforms": [*setup.vocabulary_cut, *types],
            "budget": {"use": "tokens", "at_most": self.value},
            "objective": "kl",
            "uniform": False,  # there is one gene
        }
        recover = {
            "train": setup.output.trainable if types else setup.trainable,
            "rate": None if types else two_digits(_RATE * setup.facts.weight_size),
            "keep_codes": setup.keep_codes,
            "cross_entropy": 0,
            "batch": 1,
        }
        operators = {"algorithm": {"use": "additive", "screening": 0.125}}
        return experiment(setup, problem, operators, 1, recover, generations=0)

    @classmethod
    def advice(cls, planning: Any, goal: Goal) -> str | None:
        weights, headers = planning.output.weights, planning.headers
        if planning.vocabulary or planning.asked.task or not isinstance(goal, Size):
            return None
        if 8 * goal.file_bytes(weights) >= _FEW * weights:
            return None
        rows = len(planning.resident.model.get_input_embeddings().weight)
        if (share := _token_bytes(headers, rows) / headers.bytes) < _MUCH:
            return None
        return (
            f"rows of {rows:,} tokens hold {share:.0%} of the file: {_OPTION} TEXT keeps only tokens that TEXT needs, "
            f"which loses less than types below {_FEW:g} bits"
        )


def _forecast(headers: Headers, rows: int, order: Order, count: int) -> str:
    """Tell the bytes that a model of ``rows`` tokens saves if ``count`` stay, and at most."""
    saved, most = ((1 - stay / rows) * _token_bytes(headers, rows) for stay in (count, order.fewest))
    little = ": little, and --size loses less; it pays for a model of more languages than the text"
    return (
        f"{count:,} of {rows:,} tokens stay, which saves {megabytes(saved)} of {megabytes(headers.bytes)} (at most "
        f"{megabytes(most)}){little if saved < _LITTLE * headers.bytes else ''}"
    )


def _token_bytes(headers: Headers, rows: int) -> int:
    """Return the bytes of matrices with a row for each of so many tokens."""
    return sum(each.bytes for each in headers.tensors.values() if each.shape[:1] == (rows,))


def needed_tokens(
    tokenizer: Any, rows: int, vocabulary: Mapping[str, Any], searched: Mapping[str, Any]
) -> tuple[Order, int]:
    """Return the order of ``rows`` tokens, and the number that ``searched`` needs, a level of the transform.

    Both texts: keys of :class:`TextSettings`. Raises :class:`evoprune.InputError` if all tokens are needed.
    """
    from evoprune.problems.language_model.texts.settings import TextSettings
    from evoprune.problems.language_model.texts.source import load_text
    from evoprune.problems.language_model.texts.windows import tokenise
    from evoprune.problems.language_model.vocabulary.order import token_frequencies, token_order
    from evoprune.problems.language_model.vocabulary.transform import VocabularySettings, token_counts

    order = token_order(tokenizer, [load_text(TextSettings(**vocabulary), _OPTION)])
    uses = token_frequencies(tokenise(load_text(TextSettings(**searched), _OPTION), tokenizer))
    counts = sorted(token_counts(rows, order, VocabularySettings().step))
    count = counts[bisect_left(counts, -_LOST, key=lambda each: -order.expected_loss(uses, each))]
    if count == rows:
        raise InputError("such a text needs all tokens: give a longer one, or a goal such as --size", _OPTION)
    return order, count
