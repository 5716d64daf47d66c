"""Options of the commands ``export``, ``eval`` and ``recover`` for language models. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from evoprune import Settings
from problems.language_model.settings import Device, RecoverSettings, Source

Dtype = Literal["float32", "bfloat16", "float16"]


class ExportOptions(Settings):
    """Options of an export."""

    dtype: Dtype | None = Field(None, description="number format of what is written (default: the source's)")
    base: Source | None = Field(
        None,
        description="for OUT.gguf: a .gguf file of the dense model, whose tokenizer and metadata are copied (default: "
        "that of the run's transform, or the run's model, if it is one)",
    )
    untimed: bool = Field(False, description="do not time the model and the dense one, nor measure their memory")


class EvalOptions(Settings):
    """Options of the command ``eval``."""

    text: Source | None = Field(
        None, description="hub id, .txt, .jsonl or .parquet file, bundled:python-docs (default: the run's report text)"
    )
    split: str | None = Field(None, description="the hub's or the bundled text's split")
    column: str = Field("text", description="the column that holds the text, in all but .txt")
    window: int | None = Field(None, ge=2, description="tokens in a window; windows do not overlap")
    windows: int | None = Field(None, ge=1, description="windows from the start of the text (default with --text: all)")
    dtype: Dtype | None = Field(
        None, description="number format to compute in (default: the run's; float32 for a model)"
    )
    device: Device = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps; for a model (for a run: --set problem.device=)"
    )
    tasks: str | None = Field(
        None, description="names of lm-evaluation-harness tasks, separated by commas; pip install 'evoprune[lm_eval]'"
    )
    include_path: str | None = Field(None, description="a folder with task files of your own")
    limit: int | None = Field(None, ge=1, description="examples of each task (default: all)")

    @model_validator(mode="after")
    def _consistent(self) -> EvalOptions:
        if self.tasks is None and (self.limit, self.include_path) != (None, None):
            raise ValueError("limit and include_path say how tasks are run; name the tasks, too")
        return self


class RecoverOptions(RecoverSettings):
    """Options of the command ``recover``."""

    teacher: Source | None = Field(
        None, description="the dense model; needed for a folder that evoprune did not write (default: the run's)"
    )
    report_text: Source | None = Field(
        None, description="text that scores the result; needed for such a folder (default: the run's)"
    )
    revision: str | None = Field(
        None, description="branch, tag or commit of the dense model of a folder, on the hub (default: the run's)"
    )
    trust_remote_code: bool = Field(False, description="run the model code in a folder, and that of its dense model")
    device: Device = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps; for a folder (for a run: --set problem.device=)"
    )
    base: Source | None = Field(
        None, description="for a run written to OUT.gguf: a .gguf file of the dense model, as in export --base"
    )
