"""The option ``--vocabulary`` of the command ``prune``: tokens that a text does not need are left out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import InputError
from evoprune.errors import blamed_on
from evoprune.problems.language_model.planning.recipe import Json, Recipe, Subject, additive
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text

if TYPE_CHECKING:  # it imports torch
    from evoprune.problems.language_model.models.resident import Resident

OPTION = "--vocabulary"

_LOST = 0.02  # expected nats a token: about a hundredth
_STEP = 256  # tokens
_LONG = 32  # windows, of which a search reads 8, and a training holds out at most as many
_RATE = 2.5e-4  # of all weights, times their size: little was lost


class Unneeded(Recipe):
    """The goal where no other one is given: as the source, without the tokens that a text hardly needs."""

    option: ClassVar[str] = OPTION

    def __init__(self, size: float = 0.0, removed: float = 0.0) -> None:
        """``size``: bytes of weights; ``removed``: parameters, as a share of the blocks'."""
        super().__init__(size)
        self._removed = removed

    def sized(self, resident: Resident, words: Json, text: Json) -> Unneeded:
        """The goal for the model ``resident``: settings of the text that says which tokens stay, and of another."""
        from evoprune.problems.language_model.gguf.size import tensor_bytes
        from evoprune.problems.language_model.models.settings import ModelSettings
        from evoprune.problems.language_model.models.weight_files import bytes_of, stored_tensors, weight_files
        from evoprune.problems.language_model.texts.windows import tokens_of
        from evoprune.problems.language_model.transforms.vocabulary.order import order_of, uses_in

        embedding, head = resident.model.get_input_embeddings(), resident.model.get_output_embeddings()
        rows = len(embedding.weight)
        order = order_of(resident.tokenizer, [load_text(TextSettings(**words), OPTION)])
        uses = uses_in(tokens_of(load_text(TextSettings(**text), OPTION), resident.tokenizer))
        counts = range(order.fewest, rows, _STEP)
        place = bisect_left(counts, -_LOST, key=lambda count: -order.lost(uses, count))
        if place == len(counts):
            raise InputError("such a text needs all tokens: give a longer one, or a goal such as --size", OPTION)
        count = counts[place]
        files = weight_files(ModelSettings(model=resident.source))
        ends = [each for path in files for each in stored_tensors(path).values() if each.shape[:1] == (rows,)]
        saved = (1 - count / rows) * sum(tensor_bytes(each.kind, each.shape) for each in ends)
        tied = head is None or head.weight is embedding.weight
        width = embedding.weight.shape[1] * (1 if tied else 2)
        return Unneeded(bytes_of(files) - saved, (rows - count) * width / resident.block_parameters)

    def evaluations(self, subject: Subject) -> tuple[float, float]:  # noqa: ARG002 - there is one gene
        return 3, 8

    def recovery(self, subject: Subject, compensated: bool) -> Json:
        if subject.quantised:
            return super().recovery(subject, compensated)
        return {
            "train": "all" if subject.roomy else "norms",
            "rate": subject.rate(_RATE),
            "cross_entropy": 0,
            "batch": 1,
        }

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        made: Json = {"transforms": [], "budget": {"use": "parameters", "removed": self._removed}}
        if subject.quantised:
            types = {"use": "types", "types": [], "from_source": True}
            made = {"transforms": [types], "budget": {"use": "bytes", "at_most": int(self.value)}}
        return {"problem": {"use": "language_model", "objective": "kl", **made}, "operators": additive()}


def text_of(given: str, text: str | None, parts: Mapping[str, Json]) -> Json:
    """Settings of the text ``given`` for the vocabulary: where it is ``text`` itself, its part for calibration."""
    if text is not None and Path(given).resolve() == Path(text).resolve():
        return dict(parts["calibration"])
    found = TextSettings(source=given)
    with blamed_on(OPTION):
        load_text(found, "transforms.texts")
    return {"source": found.source}


def trained_on(words: Json | None, parts: Mapping[str, Json], windows: int) -> Json:
    """Settings of the text to train on: another one than ``words``, which has hardly any of the missing tokens.

    ``windows``: of the part for the search, most of which must be left to train on.
    """
    return parts["search" if words == parts["calibration"] and windows >= _LONG else "calibration"]


def with_vocabulary(problem: Json, text: Json) -> Json:
    """``problem`` in which tokens may be left out too."""
    given: Any = problem["transforms"]
    others = given if isinstance(given, list) else [given]
    return problem | {"transforms": [{"use": "vocabulary", "texts": [text]}, *others]}
