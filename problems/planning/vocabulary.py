"""The option ``--vocabulary`` of the command ``prune``: tokens that a text does not need are left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import InputError
from problems.planning.recipe import FLOATS, Json, Recipe, Subject, additive

if TYPE_CHECKING:  # it imports torch
    from problems.models.resident import Resident

OPTION = "--vocabulary"


class Unneeded(Recipe):
    """The goal where no other one is given: as the source, without the tokens that the text does not use."""

    option: ClassVar[str] = OPTION

    def __init__(self, used: int = 0, size: float = 0.0, removed: float = 0.0) -> None:
        """``size``: bytes of the source with the tokens ``used``; ``removed``: as a share of the blocks' parameters."""
        super().__init__(used)
        self._size, self._removed = size, removed

    def sized(self, resident: Resident, text: Json) -> Unneeded:
        """The goal for the model ``resident`` and the ``text``, settings of all that it is to read."""
        from problems.gguf.size import tensor_bytes
        from problems.models.settings import ModelSettings
        from problems.models.weight_files import bytes_of, stored_tensors, weight_files
        from problems.texts.settings import TextSettings
        from problems.texts.source import load_text
        from problems.transforms.vocabulary.order import order_of

        embedding, head = resident.model.get_input_embeddings(), resident.model.get_output_embeddings()
        rows = len(embedding.weight)
        used = order_of(resident.tokenizer, [load_text(TextSettings(**text), OPTION)]).used
        files = weight_files(ModelSettings(model=resident.source))
        ends = [each for path in files for each in stored_tensors(path).values() if each.shape[:1] == (rows,)]
        saved = (1 - used / rows) * sum(tensor_bytes(each.kind, each.shape) for each in ends)
        tied = head is None or head.weight is embedding.weight
        width = embedding.weight.shape[1] * (1 if tied else 2)
        return Unneeded(used, bytes_of(files) - saved, (rows - used) * width / resident.block_parameters)

    def evaluations(self, subject: Subject) -> tuple[float, float]:  # noqa: ARG002 - there is one gene
        return 3, 8

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        quantised = subject.one_file and set(subject.kinds_of_source) - FLOATS
        made: Json = {"transforms": [], "budget": {"use": "parameters", "removed": self._removed}}
        if quantised:
            types = {"use": "types", "types": [], "from_source": True}
            made = {"transforms": [types], "budget": {"use": "bytes", "at_most": int(self._size)}}
        return {"problem": {"use": "language_model", "objective": "kl", **made}, "operators": additive()}


def text_of(given: str, text: str | None, parts: Mapping[str, Json]) -> Json:
    """Settings of the text ``given`` for the vocabulary: where it is ``text`` itself, its part for calibration."""
    same = text is not None and Path(given).resolve() == Path(text).resolve()
    return dict(parts["calibration"]) if same else {"source": given}


def with_vocabulary(problem: Json, text: Json) -> Json:
    """``problem`` in which tokens may be left out too. Raises InputError where zeros keep their room."""
    if "transforms" not in problem:
        raise InputError("cannot be given beside --sparsity: give --size, --bits, --remove or --speedup", OPTION)
    given: Any = problem["transforms"]
    others = given if isinstance(given, list) else [given]
    return problem | {"transforms": [{"use": "vocabulary", "texts": [text]}, *others]}
