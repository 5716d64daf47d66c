"""A .gguf file as the output of the command ``prune``. Imports no torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, field_validator

from evoprune import InputError, Stopped
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.export.options import AGAINST_PRESET, AgainstPreset, KvType
from evoprune.problems.language_model.gguf.prune.source_types import (
    FAST,
    SourceTypes,
    least_bytes,
    shrinking,
    smallest,
)
from evoprune.problems.language_model.gguf.recipe import read_importance
from evoprune.problems.language_model.gguf.sources import BLOCKS, ONE_WIDTH, architecture_of, cuts_of
from evoprune.problems.language_model.models.model_file import Stored
from evoprune.problems.language_model.models.settings import Source
from evoprune.problems.language_model.prune.experiments import experiment, given
from evoprune.problems.language_model.prune.goals import Size, Speedup
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.prune.interfaces import LEAST_STEP, SOME, Goal, Json, ModelFacts, Output, Setup
from evoprune.problems.language_model.prune.options import PruneOptions
from evoprune.problems.language_model.prune.reach import SURE

if TYPE_CHECKING:  # these import torch
    from evoprune.problems.language_model.gguf.prune.quantising import Tried
    from evoprune.problems.language_model.models.resident import Resident

_NEAR = 1.08  # times the least bytes of types, below which cuts and types lose less (docs/measurements/joint.md)
_LISTING = 5.0  # seconds to list llama.cpp's presets and to start processes
_DROPPED = 0.4  # share of the parameters beyond which whole attentions and MLPs of a file may go


class GgufPruneOptions(PruneOptions):
    """Options for the output of a .gguf file."""

    base: Source | None = Field(
        None, description="for --out OUT.gguf: a .gguf file of the same model, whose tokenizer and metadata are copied"
    )
    imatrix: Source | None = Field(
        None, description="for --out OUT.gguf: llama.cpp's importance matrix of the same model, in place of the text's"
    )
    against_preset: AgainstPreset | None = Field(None, description=AGAINST_PRESET)
    context: int | None = Field(None, ge=1, description="for --fits: tokens (default: 4096, at most the model's)")
    kv: KvType | None = Field(None, description="for --fits: the type of keys and values (default: f16)")

    @field_validator("base")
    @classmethod
    def _there(cls, value: str | None) -> str | None:
        if value and not Path(value).is_file():
            raise ValueError(f"no such file: {value}")
        return value


class GgufOutput(Output):
    """A .gguf file, each of whose matrices has a type."""

    Options = GgufPruneOptions
    suffix, one_file = "gguf", True
    trainable = "scales"

    def __init__(self, model: str, asked: Any) -> None:
        super().__init__(model, asked)
        self.export = given({"base": asked.base, "against_preset": asked.against_preset})
        self.recipe: str | None = None
        self.take(SourceTypes())
        self._types: list[str] = []
        self._tried: dict[str, Tried] = {}

    def missing(self) -> str | None:
        return ggml.missing()

    def faults(self, goal: Goal | None) -> Iterator[tuple[str, object]]:
        fits = goal is not None and goal.name == "fits"
        for option, value in {"--context": self.asked.context, "--kv": self.asked.kv}.items():
            yield option, value and not fits and "is for --fits MEMORY"

    def check(self) -> None:
        architecture_of(self.model, self.asked.base)
        if self.asked.imatrix:
            read_importance(Path(self.asked.imatrix))

    @property
    def arguments(self) -> list[str]:
        asked, memory = self.asked, self.export
        options = {"--base": asked.base, "--imatrix": asked.imatrix, "--against-preset": asked.against_preset}
        options |= {"--context": memory.get("context"), "--kv": memory.get("kv")}
        return [part for option, value in options.items() if value for part in (option, str(value))]

    def smallest(self, matrix: Stored, headers: Headers) -> float:
        return smallest(matrix, headers)

    def least(self, headers: Headers) -> float:
        return least_bytes(headers)

    def look(self, resident: Resident, headers: Headers) -> None:
        from evoprune.problems.language_model.gguf.base import find_base
        from evoprune.problems.language_model.gguf.types.matrices import typed_matrices

        find_base(resident, self.asked.base)  # raises an error if nothing says what the file holds besides
        widths = Counter[int]()
        for matrix in typed_matrices(resident):
            widths[matrix.rows(matrix.weight).shape[1]] += matrix.size
        tokens = len(resident.model.get_input_embeddings().weight) if self.asked.vocabulary else 0
        types = frozenset(each.kind for each in headers.tensors.values()) if headers.is_file else frozenset[str]()
        form = cuts_of(headers.settings.model, self.asked.base)
        self.take(SourceTypes(widths, types, form, least_bytes(headers, tokens), shrinking(headers)))

    def take(self, source: SourceTypes) -> None:
        """Set the attributes that depend on the types of the ``source``."""
        self.source, self.least_bytes, self.weights = source, source.least, source.weights
        self.alike, self.loses_blocks = source.form != BLOCKS, source.form == ONE_WIDTH

    @property
    def block_size(self) -> int:
        return max(map(ggml.block_size, {*self.source.quantised, *self._types}), default=LEAST_STEP)

    def removed(self, size: float, facts: ModelFacts) -> float:
        if not facts.can_be_cut or size >= _NEAR * self.source.least:
            return 0.0
        return max(SOME, 1 - size / self.source.least)

    def is_faster_by_types(self, speedup: float) -> bool:
        return self.alike and self.source.shrinking >= SURE * speedup  # there, cuts lose much more

    def drops_sublayers(self, removed: float) -> bool:
        return not self.alike and removed >= _DROPPED

    def choose_types(self, goal: Goal, seconds: float | None) -> float:
        source, making = self.source, 0.0
        if isinstance(goal, Size):
            if seconds is not None:
                from evoprune.problems.language_model.gguf.prune.quantising import tried_types

                self._tried = tried_types(source.fitting, source.weights, seconds)
                known = [each.time for name, each in self._tried.items() if not name.startswith("IQ")]
                making = seconds * max((each for each in known if each < math.inf), default=0.0)
            bits = 8 * goal.file_bytes(source.weights) / source.weights
            times = {name: each.time for name, each in self._tried.items()}
            self._types = source.types_within(max(bits, source.least_bits), times)
        elif isinstance(goal, Speedup) and source.quantised:
            self._types = [each for each in FAST if each in source.fitting]
        return 0.0 if self.asked.against_preset == "none" else _LISTING + making

    def runtime_token(self) -> float | None:
        if not self.model.endswith(".gguf"):
            return None
        from evoprune.problems.language_model.gguf.runtime import seconds_a_token

        with suppress(InputError, Stopped):  # no room; the export says so
            return seconds_a_token(Path(self.model))
        return None

    def losses(self, file: Path, pieces: Sequence[tuple[str, str]]) -> list[float]:
        from evoprune.problems.language_model.gguf.runtime import piece_losses

        return piece_losses(file, pieces)

    def add_slow_types(self, goal: Goal, session: Any) -> None:
        if not (self._tried and isinstance(goal, Size)):
            return
        from evoprune.problems.language_model.gguf.prune.quantising import used_types
        from evoprune.problems.language_model.gguf.types.transform import Types

        if types := session().transform.find(Types):
            used = used_types(types, goal.file_bytes(self.source.weights), self._tried)
            self._types = self.source.ordered({*self._types, *used})

    def for_calibration(self) -> Self:
        least = copy(self)
        least._types = self._types[-1:]
        return least

    def types(self, chosen: bool = True) -> list[Json]:
        keeps = bool(self.source.quantised)
        if not chosen:
            return [{"use": "types", "types": [], "from_source": True}] if keeps else []
        transform = {"use": "types", "types": [*self._types], "imatrix": self.asked.imatrix}
        own = {"from_source": True} if keeps else {"base": self.asked.base}
        return [given(transform | own)] if self._types or keeps else []

    def experiment(self, setup: Setup, limit: Json) -> Json:
        """Return the experiment that chooses a type for each matrix, whose scales are trained then: docs/bits.md."""
        types = {
            "use": "types",
            "types": None if self.recipe else [*self._types],
            "recipe": self.recipe,
            "imatrix": self.asked.imatrix,
            "from_source": True if self.source.quantised else None,
            "base": self.asked.base,
        }
        problem = {
            "use": "language_model",
            "transforms": [*setup.vocabulary_cut, given(types)],
            "budget": limit,
            "objective": "kl",
            "held_out_windows": 0,  # of one candidate there is nothing to choose
            "uniform": False,  # matrices all in one type are no baseline of anybody
            "reuse_mib": 0,  # children differ from the first blocks on: 1% of the states would be used again
        }
        recover = {"train": "scales", "keep_codes": setup.keep_codes, "least": setup.least_trained}
        # making a candidate takes as long as scoring it
        operators = {"algorithm": {"use": "additive", "screening": 1.0, "offspring": 4}}
        # More candidates than the knapsack's gain nothing on unseen text (docs/measurements/bits.md). With fewer
        # tokens, they also try one kind of cut alone, and learn how both add up.
        return experiment(setup, problem, operators, 30 if setup.vocabulary else 1, recover)

    def room(self, size: float, parameters: int, headers: Headers) -> float:
        """Also for a draft before the file, and for the source in 16 bits to compare it with."""
        return 2 * min(size, headers.bytes) if headers.is_file else 2 * size + 2.0 * parameters

    def overview(self, planning: Any) -> Iterable[str]:
        from evoprune.problems.language_model.gguf.prune.overview import overview

        self._types = self.source.types_within(self.source.least_bits)
        return overview(planning, self)
