"""Settings of a model: its source, device and number format. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from evoprune import InputError, Settings, check_plugin

BUNDLED_MODEL = "bundled:gpt2-mini"


def _absolute_if_local(source: str) -> str:
    """A path that exists becomes absolute, so that a stored experiment works from any folder."""
    try:
        path = Path(source).expanduser()
        return str(path.resolve()) if path.exists() else source
    except (OSError, RuntimeError) as error:  # the name is too long, or its home folder is unknown
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def registered(group: str, *others: str) -> AfterValidator:
    """Checks a name of ``group``, or one of ``others``, without importing what it names, which may need torch."""

    def check(name: str) -> str:
        try:
            if name not in others:
                check_plugin(group, name)
        except InputError as error:
            raise ValueError(str(error)) from None
        return name

    return AfterValidator(check)


Source = Annotated[str, Field(min_length=1), AfterValidator(_absolute_if_local)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
Dtype = Literal["float32", "bfloat16", "float16"]


class ModelSettings(Settings):
    """Which model is loaded, and in which format."""

    model: Source = Field(BUNDLED_MODEL, description="hub id, local folder, .gguf file, or bundled:gpt2-mini")
    revision: str | None = Field(None, description="branch, tag or commit of a model on the hub")
    trust_remote_code: bool = Field(False, description="run model code from the hub")
    device: Device = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format; auto is bfloat16 if the device is fast at it, else float32"
    )
