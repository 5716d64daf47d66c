"""Exports a model for other tools, and checks the files in a fresh process. Imports no torch."""

from pydantic import Field

from evoprune import Settings
from evoprune.problems.language_model.models.settings import Dtype

FORMATS = "evoprune.export_formats"  # group of entry points, named by the suffixes of files


class ExportOptions(Settings):
    """Options of every export."""

    dtype: Dtype | None = Field(None, description="number format of the exported weights (default: the source's)")
    untimed: bool = Field(
        False,
        description="do not time the model and its source, nor measure their memory, nor make a file to compare with",
    )
    seconds: float | None = Field(
        None, description="skip the source and times if they would take longer than so many seconds"
    )
