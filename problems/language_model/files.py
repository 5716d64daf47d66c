"""What settings name that is not on this machine, known in a moment. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from problems.language_model.model.place import is_path, lacking
from problems.language_model.settings import LOCAL_TEXT_SUFFIXES, LanguageModelSettings, TextSettings


def missing(settings: LanguageModelSettings) -> Iterator[str]:
    """A line for each file, folder or package that is not there, with its key."""
    if fault := model_fault(settings.model):
        yield f"problem.model: {fault}"
    roles = {"search_text": settings.search_text, "report_text": settings.report_text}
    roles["calibration_text"] = settings.calibration
    for role, its_text in roles.items():
        if (fault := text_fault(its_text)) and (role != "calibration_text" or settings.calibration_text):
            yield f"problem.{role}: {fault}"
    if settings.recover and find_spec("accelerate") is None:
        yield "problem.recover: needs accelerate; pip install 'evoprune[recover]'"
    text = settings.recover and settings.recover.text
    if text and (fault := text_fault(TextSettings(source=text))):
        yield f"problem.recover.text: {fault}"


def model_fault(model: str) -> str | None:
    """Why there is no model at the path ``model``; None if there may be one, or it is a name on the hub."""
    path = Path(model)
    if path.is_dir():
        return f"{path} {lack}" if (lack := lacking(path)) else None
    if path.suffix == ".gguf":
        return None if path.is_file() else f"{path}: no such file"
    if is_path(model):
        return f"{path}: no such folder; expected one that save_pretrained wrote, or a .gguf file"
    return None


def text_fault(text: TextSettings) -> str | None:
    """Why there is no text at a path; None if there may be one, or it is bundled or on the hub."""
    path = Path(text.source)
    if not text.is_local:
        return None
    if path.suffix not in LOCAL_TEXT_SUFFIXES:
        return f"{path}: expected a file that ends in {', '.join(LOCAL_TEXT_SUFFIXES)}"
    return None if path.is_file() else f"{path}: no such file"
