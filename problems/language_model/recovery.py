"""Recovers the result of a run, as its last part or later, or a model in a folder, and exports it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from evoprune import Exported, InputError
from evoprune.interfaces.parts import Outcome
from evoprune.problems.language_model.distillation.recover import (
    Recovered,
    begin,
    decided,
    recover,
    recover_all,
    refuse_scales,
    refuse_unknown,
)
from evoprune.problems.language_model.distillation.settings import DEFAULT_WINDOW, RecoverOptions, RecoverSettings
from evoprune.problems.language_model.distillation.targets import DenseModel
from evoprune.problems.language_model.distillation.teacher import Teacher
from evoprune.problems.language_model.distillation.text import RecoveryText, divided, recovery_text
from evoprune.problems.language_model.distillation.trainable_parameters import Given, looks_pruned, refuse_lora
from evoprune.problems.language_model.distillation.training import accelerator, refuse_uneven
from evoprune.problems.language_model.evaluation.session import PERPLEXITY, Session
from evoprune.problems.language_model.export import ExportOptions, ragged_model
from evoprune.problems.language_model.export.card import card, recovered_card
from evoprune.problems.language_model.export.facts import ExportFacts
from evoprune.problems.language_model.export.folder import check_folder, folder_facts
from evoprune.problems.language_model.export.format import ExportFormat, public_name, run_of
from evoprune.problems.language_model.export.runtime import computing
from evoprune.problems.language_model.models.blocks import count_zeros, find_matrices
from evoprune.problems.language_model.models.device import dtype_of, pick_device
from evoprune.problems.language_model.models.late import at_home
from evoprune.problems.language_model.models.load import copy_of, quiet, stored_dtype
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings, model_fault
from evoprune.problems.language_model.models.tensor_file import replace_file, saving
from evoprune.problems.language_model.results.final_model import RECOVERED, FinalModel
from evoprune.problems.language_model.results.learning_curve import FIGURE, draw_recovery
from evoprune.problems.language_model.results.result import EVOLVED, LanguageModelResult
from evoprune.problems.language_model.results.summary import recovered_lines
from evoprune.problems.language_model.texts.settings import TextSettings, text_fault
from evoprune.problems.language_model.texts.windows import Windows, check_length, cut_windows, settings_of

WORKPLACE = "recovery"
"""The folder with the checkpoints in the folder of a run."""

_OF_A_FOLDER = ("teacher", "report_text", "revision", "trust_remote_code", "device")
"""Options of ``recover`` that a run answers itself."""

Json = dict[str, Any]


def check_before_run(session: Session, settings: RecoverSettings, known: Iterable[str]) -> None:
    """Raise :class:`evoprune.InputError` for settings that would fail after the search.

    ``known``: the names that ``alike`` allows.
    """
    refuse_unknown(settings, known)
    refuse_uneven(settings, accelerator(session.resident.device))
    if settings.train == "lora":
        refuse_lora(session.transform.sparse)
    refuse_scales(settings, session.transform)


def recover_in_run(
    session: Session, settings: RecoverSettings, text: RecoveryText, outcome: Outcome,
    known: Mapping[str, Sequence[float]], result: Mapping[str, Any], folder: Path,
) -> Json:  # fmt: skip
    """Add a recovery to ``result``; write the weights into the run's ``folder``, if they are better."""
    recovered = recover(FinalModel(session, outcome.best), known, settings, text, folder / WORKPLACE, anew=True)
    if recovered.helped:
        replace_file(folder / RECOVERED, recovered.weights)
    caption = draw_recovery(recovered.rows, recovered.protocol["held_out_dense"], folder, outcome.title)
    return _added(result, recovered) | {"figures": result.get("figures", {}) | {FIGURE: caption}}


def delete_checkpoints(folder: Path) -> None:
    """Delete the checkpoints in the folder of a run whose result is there. A kill leaves none that seem complete."""
    deleted = folder / f"{WORKPLACE}.deleted"
    shutil.rmtree(deleted, ignore_errors=True)
    if (folder / WORKPLACE).exists():
        (folder / WORKPLACE).rename(deleted)
        shutil.rmtree(deleted)


def recover_and_export(
    final: FinalModel, known: Mapping[str, Sequence[float]], result: LanguageModelResult, workplace: Path, place: Path,
    options: RecoverOptions, kind: type[ExportFormat],
) -> Exported:  # fmt: skip
    """Recover the result of a finished run, further if the run recovered it, and write it to ``place`` in a format.

    Raises :class:`evoprune.Stopped` if that did not help. ``known``: genomes that ``options.alike`` may name.
    """
    if given := options.model_dump(include=set(_OF_A_FOLDER), exclude_defaults=True):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError("is for an exported folder: a run has its own; leave it out", names)
    run_of(final, result)
    refuse_scales(options, final.session.transform)
    export = ExportOptions(dtype=None, base=options.base, untimed=options.untimed)
    kind(final, export).check()  # before minutes of training
    session, options = final.session, decided(options, final.session.transform)
    text = recovery_text(options, session)
    recovered = recover(final, known, options, text, workplace)
    recovered.check(workplace)
    final = FinalModel(session, final.genome, recovered.weights)
    run = LanguageModelResult.model_validate(_added(result.as_json(), recovered))
    exported = kind(final, export).write(run_of(final, run), place)
    return replace(exported, summary=[*recovered_lines(recovered.rows), *exported.summary])


def _added(result: Mapping[str, Any], recovered: Recovered) -> Json:
    protocol = dict(result["protocol"]) | {"recovery": recovered.protocol}
    return dict(result) | {"recovered": recovered.json_rows(), "protocol": protocol}


def recover_export(
    source: Path, facts: Mapping[str, Any] | None, workplace: Path, folder: Path, options: RecoverOptions
) -> Exported:
    """See :meth:`evoprune.interfaces.export.Recovering.recover_export`."""
    run = ExportFacts.read(facts) if facts else None
    if not run and not (options.teacher and options.report_text):
        raise InputError(
            "evoprune did not write this folder: give its dense model with --teacher, and --report-text", str(source)
        )
    refuse_scales(options)
    if options.base:
        raise InputError("is for a run that becomes a file; leave it out", "--base")
    refuse_unknown(options, ["dense"])
    if run and run.recovered and options.trained_alike:
        raise InputError("the folder was recovered before, and the dense model was not; leave it out", "--alike")
    trust = options.trust_remote_code
    where = ModelSettings(model=str(source.resolve()), device="cpu", trust_remote_code=trust)
    stored = run.dtype if run else stored_dtype(where)
    used = computing(stored, pick_device(options.device)) if stored else "auto"
    student, tokenizer = ragged_model.load_any(where.model_copy(update={"dtype": used}))
    teacher = _teacher(run, options, dtype_of(student))
    _refuse_another(student, tokenizer, teacher)
    report = _report_text(run, options, teacher)
    resident = Resident(student, tokenizer, str(source))
    search = settings_of(run.protocol.search_text.model_dump()) if run else None
    own = options.text_settings(search)
    _refuse_absent(text_fault(own), "--text")
    seen = [cut_windows(search, tokenizer, "search_text")] if search and own.identity == search.identity else []
    text = divided(own, seen, options, student, tokenizer, report)
    judge = Teacher(DenseModel(teacher.model), text, report, tokenizer)
    begin(workplace, options, judge, {"weights": [resident.weights_sha256, teacher.weights_sha256]})

    def make(name: str) -> Given:
        if name == EVOLVED:
            return Given(student, sparse=looks_pruned(student))
        return Given(copy_of(teacher.model, teacher.model.dtype))

    with at_home(teacher.model):
        recovered = recover_all(make, judge, options, workplace)
    recovered.check(workplace)
    dtype = stored or dtype_of(student)
    model = copy_of(student, getattr(torch, dtype))
    with quiet(), saving(folder):
        tokenizer.save_pretrained(folder)
        if ragged_model.is_ragged(source):
            ragged_model.save_like(source, model, folder)
        else:
            model.save_pretrained(folder)
    check, faults = check_folder(
        folder, {matrix.name: count_zeros([matrix]) for matrix in find_matrices(model)},
        recovered.rows[EVOLVED].perplexity_after, report=report, device=judge.model.device, dtype=dtype,
        run_dtype=dtype_of(judge.model), trust=trust,
    )  # fmt: skip
    now = _still_true(facts or {}, recovered) | folder_facts(folder, dtype)
    now |= {"recovered": recovered.json_rows(), "check": check}
    now["protocol"] = dict(now.get("protocol") or _protocol(judge)) | {"recovery": recovered.protocol}
    draw_recovery(recovered.rows, recovered.protocol["held_out_dense"], folder, public_name(str(source)))
    if run:
        described = card(ExportFacts.read(now))
    else:
        described = recovered_card(public_name(str(source)), public_name(judge.model.name_or_path), recovered.rows)
    (folder / "README.md").write_text(described, encoding="utf-8")
    return Exported(now, list(recovered_lines(recovered.rows)), faults)


def _teacher(run: ExportFacts | None, options: RecoverOptions, dtype: str) -> Resident:
    """Load the dense model, which must be the one that the run began with."""
    own = run.protocol if run and not options.teacher else None
    given = {"model": own.model, "dtype": own.dtype} if own else {"model": options.teacher, "dtype": dtype}
    if own:
        _refuse_absent(model_fault(own.model), "--teacher")
    revision = options.revision or (own.revision if own else None)
    more = {"revision": revision, "trust_remote_code": options.trust_remote_code, "device": options.device}
    teacher = Resident.load(ModelSettings.model_validate(given | more))
    if own and teacher.weights_sha256 != own.weights_sha256:
        raise InputError("its weights are no longer those that the run pruned; give them with --teacher", own.model)
    return teacher


def _refuse_absent(fault: str | None, option: str) -> None:
    """Raise :class:`InputError` for a ``fault`` of a file that an export names, without the folder where it was."""
    if fault:
        raise InputError(f"{fault}; give its path here, or recover in its folder", option)


def _refuse_another(student: Any, tokenizer: Any, teacher: Resident) -> None:
    """Refuse a ``teacher`` of another vocabulary or width than ``student``."""
    theirs: Any = teacher.tokenizer
    configs = student.config.get_text_config(), teacher.model.config.get_text_config()
    for key in ("vocab_size", "hidden_size"):
        ours, other = (getattr(config, key, None) for config in configs)
        if ours != other:
            raise InputError(f"has a {key} of {other}, and the model to recover {ours}", teacher.source)
    if tokenizer.get_vocab() != theirs.get_vocab():
        raise InputError("has another vocabulary than the model to recover", teacher.source)


def _report_text(run: ExportFacts | None, options: RecoverOptions, teacher: Resident) -> Windows:
    """Cut the report text, which must be the run's."""
    if run is None:
        text = TextSettings(source=options.report_text or "", window=options.window or DEFAULT_WINDOW, windows=None)
    else:
        text = settings_of(run.protocol.report_text.model_dump())
        if options.report_text:  # the same one at another place
            text = text.model_copy(update={"source": options.report_text, "subset": None, "split": None})
        _refuse_absent(text_fault(text), "--report-text")
    check_length(text, teacher.model, "report_text")
    found = cut_windows(text, teacher.tokenizer, "report_text")
    if run and found.sha256 != run.protocol.report_text.sha256:
        raise InputError("is not the text that the run was measured on; give that one with --report-text", text.source)
    return found


def _still_true(facts: Mapping[str, Any], recovered: Recovered) -> Json:
    """The ``facts`` of the folder before that a recovery did not change."""
    changed = {"fit", "faults", "best"}
    if not recovered.rows[EVOLVED].trained.startswith("norms"):
        changed.add("types")  # trained matrices do not have the values of types
    return {key: value for key, value in facts.items() if key not in changed}


def _protocol(judge: Teacher) -> Json:
    return {
        "perplexity": PERPLEXITY,
        "dtype": dtype_of(judge.model),
        "device": str(judge.model.device),
        "report_text": judge.report.protocol(),
    }
