"""Options of the command ``eval``. Imports no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from evoprune import Settings
from problems.models.settings import Device, Dtype, Source


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
