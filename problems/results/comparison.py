"""What exports of language models are compared by: how far they are from the dense model, their size and speed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, Field, ValidationError

from evoprune import Exporting, InputError, Quantity, Standing


class _Text(BaseModel):
    source: str
    windows: int
    window: int
    sha256: str


class _Protocol(BaseModel):
    weights_sha256: str
    report_text: _Text


class _Pair(BaseModel, allow_inf_nan=False):
    dense: float = Field(gt=0)
    evolved: float = Field(gt=0)


class _Runtime(BaseModel):
    decode: _Pair
    prefill: _Pair
    threads: int
    processor: str


class _Check(BaseModel, allow_inf_nan=False):
    divergence: float
    perplexity: float | None
    kl_top: int = 64  # not in files of before


class _Facts(BaseModel, allow_inf_nan=False):
    """What is read of ``evoprune.json``."""

    base_model: str
    bytes: int = Field(ge=1)
    check: _Check
    runtime: _Runtime | None = None
    protocol: _Protocol


class ComparedExports(Exporting):
    """The part of a problem on a language model that says what its .gguf files are worth, as llama.cpp measured.

    Speeds are stated in tokens a second, and compared as multiples of the dense file's: both are timed in turn, so that
    the multiple hardly depends on what else the machine does.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = MappingProxyType(
        {
            "divergence": Quantity("divergence from dense, nats a token", "lower"),
            "bytes": Quantity("bytes of the file", "lower"),
            "decode": Quantity("speed of generating, times the dense file's", "higher"),
            "prefill": Quantity("speed of the prompt, times the dense file's", "higher"),
            "perplexity": Quantity("perplexity on the report text"),
            "decode_speed": Quantity("tokens generated a second"),
            "prefill_speed": Quantity("tokens of the prompt a second"),
            "machine": Quantity("timed on"),
        }
    )

    @classmethod
    def standing(cls, facts: Mapping[str, Any]) -> Standing:
        """Of a .gguf file; an exported folder states no divergence. Raises :class:`evoprune.InputError`."""
        try:
            found = _Facts.model_validate(facts)
        except ValidationError as error:
            keys = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
            raise InputError(f"states no {keys}; expected what 'export RUN_DIR OUT.gguf' writes") from None
        values: dict[str, float | str | None] = {"bytes": found.bytes} | found.check.model_dump(
            include={"divergence", "perplexity"}
        )
        if (timed := found.runtime) is not None:
            for name, pair in {"decode": timed.decode, "prefill": timed.prefill}.items():
                values |= {name: pair.evolved / pair.dense, f"{name}_speed": pair.evolved}
            values["machine"] = f"{timed.processor}, {timed.threads} thread{'s' * (timed.threads > 1)}"
        text = found.protocol.report_text
        return Standing(
            values,
            f"{found.base_model} (weights {found.protocol.weights_sha256[:8]}), {text.windows} windows of "
            f"{text.window} tokens of {text.source.rsplit('/', 1)[-1]} ({text.sha256[:8]}), divergence of the "
            f"{found.check.kl_top} likeliest tokens and the rest",
        )
