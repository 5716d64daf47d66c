"""Measures models anew: perplexity under a stated protocol, and the tasks of lm-evaluation-harness."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from evoprune import InputError, Table, finite
from problems.pruning import protocol
from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.evaluation.measure import Measure
from problems.pruning.harness import run_tasks
from problems.pruning.masking.masks import zeros
from problems.pruning.model.blocks import find_matrices
from problems.pruning.model.device import dtype_of
from problems.pruning.model.forward import Forward
from problems.pruning.model.load import load_model
from problems.pruning.reconstruct.sequential import reconstruct
from problems.pruning.settings import BUNDLED_REPORT_TEXT, EvalSettings, ModelSettings, TextSettings
from problems.pruning.text.windows import Windows, check_length, cut

Row = dict[str, Any]

_SHARES = frozenset({"sparsity"})

_ARGUMENTS = {
    "problem.model": "MODEL_OR_RUN",
    "problem.device": "--device",
    "problem.text": "--text",
    "problem.text.window": "--window",
}
"""What gives here what an experiment gives by a key."""


def compare(evaluator: Evaluator, genomes: Mapping[str, Sequence[float]], options: EvalSettings) -> Table:
    """A row for each of ``genomes`` by name, masked; and reconstructed, where the run does that and anything is cut.

    Raises :class:`evoprune.InputError`.
    """
    if options.dtype and options.dtype != dtype_of(evaluator.model):
        raise InputError(
            "a run is measured in its own number format; change it with --set problem.dtype=...", "--dtype"
        )
    if options.device not in {"auto", evaluator.settings.device, str(evaluator.device)}:
        raise InputError("a run is measured on its own device; change it with --set problem.device=...", "--device")
    own = evaluator.settings.report_text
    with _named_as_given():
        windows = evaluator.windows(text, "text") if (text := _text(options, own)) != own else evaluator.report
    rows = []
    for name, genome in genomes.items():
        evaluator.masks.apply(genome)
        rows.append(_row(name, evaluator, windows, options))
    if evaluator.settings.reconstruct != "none":
        for name, genome in genomes.items():
            if any(genome):
                reconstruct(evaluator, genome)
                rows.append(_row(f"{name}, reconstructed", evaluator, windows, options))
    return Table(rows, protocol.of_pruned(evaluator) | _measured(windows, options), _SHARES)


def _row(name: str, evaluator: Evaluator, windows: Windows, options: EvalSettings) -> Row:
    """What is measured of the model as it stands."""
    row = {
        "model": name,
        "sparsity": evaluator.masks.zeros() / evaluator.masks.total,
        "perplexity": finite(evaluator.measure.perplexity(windows.tokens)),
    }
    return row | _tasks(evaluator.model, evaluator.tokenizer, options)


def measure(source: str, options: EvalSettings) -> Table:
    """One row, for the model that ``source`` names. Raises :class:`evoprune.InputError`."""
    _refuse_what_is_no_model(source)
    text = _text(options, _reported(Path(source)))
    with _named_as_given():
        model, tokenizer = load_model(
            ModelSettings(model=source, device=options.device, dtype=options.dtype or "float32"),
        )
        check_length(text, model, "text")
        windows = cut(text, tokenizer, "text")
    matrices = find_matrices(model)
    row = {
        "model": Path(source).name,
        "sparsity": zeros(matrices) / sum(matrix.size for matrix in matrices),
        "perplexity": finite(Measure(Forward(model), None).perplexity(windows.tokens)),
    }
    return Table(
        [row | _tasks(model, tokenizer, options)],
        protocol.of_model(source, model) | _measured(windows, options),
        _SHARES,
    )


@contextmanager
def _named_as_given() -> Iterator[None]:
    """Errors within name arguments of ``eval`` where they would name keys of an experiment."""
    try:
        yield
    except InputError as error:
        raise InputError(error.problems, _ARGUMENTS.get(error.source or "", error.source)) from None


def _refuse_what_is_no_model(source: str) -> None:
    """Raise :class:`evoprune.InputError` for a slip in a path, which the hub would be asked for.

    A name or ``OWNER/NAME`` is the hub's where there is no such path and no folder ``OWNER`` here.
    """
    if not source:
        raise InputError(
            "its name is empty; expected a run's folder, or a model: folder, hub id or .gguf file", "MODEL_OR_RUN"
        )
    try:
        slip = _slip(Path(source).expanduser())
    except (OSError, RuntimeError) as error:  # a name too long; a home that no one has
        slip = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if slip:
        raise InputError(slip, source)


def _slip(path: Path) -> str | None:
    if path.is_dir():
        return None if (path / "config.json").is_file() else "holds neither a run's result nor a model's config.json"
    if path.exists():
        return None if path.suffix == ".gguf" else "is a file; expected a folder or a .gguf file"
    if path.suffix == ".gguf" or len(path.parts) > 2 or (len(path.parts) == 2 and path.parent.exists()):
        return "no such run, folder or file; for a model of the hub give OWNER/NAME"
    return None


def _text(options: EvalSettings, default: TextSettings) -> TextSettings:
    """What ``options`` give, over ``default``; of a text that is not the default one, that gives the window only."""
    given = options.model_dump(include={"split", "column", "window", "windows"}, exclude_unset=True)
    if options.text is None:
        return TextSettings(**default.model_dump() | given)
    return TextSettings(**{"window": default.window, "windows": None} | given, source=options.text)


def _reported(folder: Path) -> TextSettings:
    """The report text of the export in ``folder``; the bundled text where that is none."""
    try:
        exported = json.loads((folder / "evoprune.json").read_text(encoding="utf-8"))
        text = exported["protocol"]["report_text"]
        return TextSettings(**{key: text[key] for key in TextSettings.model_fields if key in text})
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return BUNDLED_REPORT_TEXT


def _tasks(model: torch.nn.Module, tokenizer: Any, options: EvalSettings) -> Row:
    if not options.tasks:
        return {}
    names = [name.strip() for name in options.tasks.split(",") if name.strip()]
    return run_tasks(model, tokenizer, names, options.include_path, options.limit)


def _measured(windows: Windows, options: EvalSettings) -> dict[str, Any]:
    """The part of the protocol that ``options`` decide."""
    return windows.protocol() | ({"tasks": options.tasks, "limit": options.limit} if options.tasks else {})
