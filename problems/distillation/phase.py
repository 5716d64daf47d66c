"""A recovery as the last part of a run, or after it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprune import Exported, InputError, Outcome
from problems.distillation import checkpoint
from problems.distillation.recover import Recovered, recover, refuse_unknown
from problems.distillation.settings import RecoverOptions, RecoverSettings
from problems.distillation.text import RecoveryText, recovery_text, refuse_report
from problems.distillation.train import accelerator
from problems.distillation.trained import refuse_lora
from problems.evaluation.session import Session
from problems.export.format import ExportFormat
from problems.export.settings import ExportOptions
from problems.export.write import refuse_other_inputs
from problems.models.tensor_file import Tensors
from problems.results.recovery_figures import NAME, draw_recovery
from problems.results.run_record import run_record
from problems.results.summary import recovered_lines

WEIGHTS, WORKPLACE = "recovered.safetensors", "recovery"

_OF_A_FOLDER = ("teacher", "report_text", "revision", "trust_remote_code", "device")
"""Options of ``recover`` that a run answers itself."""


def recover_and_export(
    session: Session, genome: Sequence[float], known: Mapping[str, Sequence[float]], result: Mapping[str, Any],
    workplace: Path, place: Path, options: RecoverOptions, kind: type[ExportFormat],
) -> Exported:  # fmt: skip
    """Recover the best of a finished run, further if the run recovered it, and write it to ``place`` in a format.

    Raises :class:`evoprune.Stopped` where that did not help. ``known``: genomes that ``options.alike`` may name.
    """
    if given := options.model_dump(include=set(_OF_A_FOLDER), exclude_defaults=True):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError("is for an exported folder: a run has its own; leave it out", names)
    refuse_other_inputs(session, run_record(result))
    export = kind(session, genome, ExportOptions(dtype=None, base=options.base, untimed=True))
    export.check()  # before minutes of training
    texts = session.texts
    text = recovery_text(options, session.resident, texts.search, texts.report.settings)
    recovered = recover(session, genome, known, options, text, workplace, weights_in(result))
    recovered.check(workplace)
    exported = export.write(_added(result, recovered), place, recovered.weights)
    return Exported(exported.facts, [*recovered_lines(recovered.rows), *exported.summary], exported.faults)


def check_before_run(session: Session, settings: RecoverSettings, text: RecoveryText, known: Iterable[str]) -> None:
    """Raise :class:`evoprune.InputError` for what would fail after the search. ``known``: what ``alike`` may name."""
    refuse_unknown(settings, known)
    accelerator(session.resident.device)
    if settings.train == "lora":
        refuse_lora(session.transform.sparse)
    refuse_report(text, session.texts.report)


def recover_in_run(
    session: Session, settings: RecoverSettings, text: RecoveryText, outcome: Outcome,
    known: Mapping[str, Sequence[float]], result: Mapping[str, Any], folder: Path,
) -> dict[str, Any]:  # fmt: skip
    """``result`` with what a recovery gave; the weights lie in the run's ``folder``, if they are better."""
    recovered = recover(session, outcome.best, known, settings, text, folder / WORKPLACE, anew=True)
    if recovered.helped:
        checkpoint.write_tensors(folder / WEIGHTS, recovered.weights)
    told = draw_recovery(recovered.rows, recovered.protocol["held_out_dense"], folder, outcome.title)
    shutil.rmtree(folder / WORKPLACE)  # the last thing: an interruption before it costs no training
    return _added(result, recovered) | {"figures": result.get("figures", {}) | {NAME: told}}


def weights_in(result: Mapping[str, Any]) -> Tensors | None:
    """The recovered weights of a run, where it has some that are better. ``result``: with the run's ``folder``."""
    rows = result.get("recovered")
    if not isinstance(rows, dict) or not rows.get("evolved", {}).get("helped"):
        return None
    return checkpoint.read_tensors(Path(result["folder"]) / WEIGHTS)


def _added(result: Mapping[str, Any], recovered: Recovered) -> dict[str, Any]:
    protocol = dict(result["protocol"]) | {"recovery": recovered.protocol}
    return dict(result) | {"recovered": recovered.rows, "protocol": protocol}
