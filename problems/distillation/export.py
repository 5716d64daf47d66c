"""Recovers the model in a folder, and writes it in the same form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from evoprune import Exported, InputError
from problems.distillation.recover import Recovered, Teacher, begin, recover_all, refuse_unknown
from problems.distillation.settings import RecoverOptions
from problems.distillation.text import DEFAULT_WINDOW, divided, refuse_report, text_settings
from problems.distillation.trained import Given, looks_pruned
from problems.export import ragged_model as uneven
from problems.export.card import card, recovered_card
from problems.export.checking import check_in_fresh_process, faults_of, stated, tolerance_of
from problems.export.runtime import computing
from problems.export.write import public_name, written
from problems.models.blocks import count_zeros, find_matrices
from problems.models.device import dtype_of, pick_device
from problems.models.load import copy_of, quiet, stored_dtype
from problems.models.resident import Resident
from problems.models.settings import ModelSettings
from problems.models.tensor_file import disk_errors
from problems.results import protocol
from problems.results.recovery_figures import draw_recovery
from problems.results.run_record import RunRecord, run_record
from problems.results.summary import recovered_lines
from problems.results.verdict import EVOLVED
from problems.texts.settings import TextSettings
from problems.texts.windows import Windows, check_length, cut_windows, settings_of

Json = dict[str, Any]


def recover_export(
    source: Path, facts: Mapping[str, Any] | None, workplace: Path, folder: Path, options: RecoverOptions
) -> Exported:
    """See :meth:`evoprune.Recovering.recover_export`."""
    run = run_record(facts) if facts else None
    if not run and not (options.teacher and options.report_text):
        raise InputError(
            "evoprune did not write this folder: give its dense model with --teacher, and --report-text", str(source)
        )
    if options.base:
        raise InputError("is for a run that becomes a file; leave it out", "--base")
    refuse_unknown(options, ["dense"])
    if facts and facts.get("recovered") and options.trained_alike:
        raise InputError("the folder was recovered before, and the dense model was not; leave it out", "--alike")
    trust = options.trust_remote_code
    where = ModelSettings(model=str(source.resolve()), device="cpu", trust_remote_code=trust)
    stored = facts["dtype"] if facts else stored_dtype(where)
    used = computing(stored, pick_device(options.device)) if stored else "auto"
    student, tokenizer = uneven.load_any(where.model_copy(update={"dtype": used}))
    teacher = _teacher(run, options, dtype_of(student))
    _refuse_another(student, tokenizer, teacher)
    report = _windows(run, options, teacher)
    resident = Resident(student, tokenizer, str(source))
    search = settings_of(run.protocol.search_text.model_dump()) if run else None
    own = text_settings(options, search)
    seen = [cut_windows(search, tokenizer, "search_text")] if search and own.identity == search.identity else []
    text = divided(own, seen, options, resident, report.settings)
    refuse_report(text, report)
    judge = Teacher(teacher.model, text, report)
    begin(workplace, options, judge, {"weights": [resident.weights_sha256, teacher.weights_sha256]})
    dtype = stored or dtype_of(student)

    def make(name: str) -> Given:
        if name == EVOLVED:
            return Given(student, sparse=looks_pruned(student))
        return Given(copy_of(teacher.model, teacher.model.dtype))

    recovered = recover_all(make, judge, options, workplace)
    recovered.check(workplace)
    saved = _save(source, student, tokenizer, folder, getattr(torch, dtype))
    return _described(source, run, facts or {}, recovered, judge, saved, dtype, folder, trust)


def _teacher(run: RunRecord | None, options: RecoverOptions, dtype: str) -> Resident:
    """The dense model. Raises :class:`evoprune.InputError` if it is not the one that the run began with."""
    own = run.protocol if run and not options.teacher else None
    given = {"model": own.model, "dtype": own.dtype} if own else {"model": options.teacher, "dtype": dtype}
    revision = options.revision or (own.revision if own else None)
    more = {"revision": revision, "trust_remote_code": options.trust_remote_code, "device": options.device}
    teacher = Resident.load(ModelSettings.model_validate(given | more))
    if own and teacher.weights_sha256 != own.weights_sha256:
        raise InputError("its weights are no longer those that the run pruned; give them with --teacher", own.model)
    return teacher


def _refuse_another(student: Any, tokenizer: Any, teacher: Resident) -> None:
    """Raise :class:`evoprune.InputError` unless ``teacher`` has the vocabulary and the width of ``student``."""
    theirs: Any = teacher.tokenizer
    configs = student.config.get_text_config(), teacher.model.config.get_text_config()
    for key in ("vocab_size", "hidden_size"):
        ours, other = (getattr(config, key, None) for config in configs)
        if ours != other:
            raise InputError(f"has a {key} of {other}, and the model to recover {ours}", teacher.source)
    if tokenizer.get_vocab() != theirs.get_vocab():
        raise InputError("has another vocabulary than the model to recover", teacher.source)


def _windows(run: RunRecord | None, options: RecoverOptions, teacher: Resident) -> Windows:
    """The report text. Raises :class:`evoprune.InputError` if it is another one than the run's."""
    if run is None:
        text = TextSettings(source=options.report_text or "", window=options.window or DEFAULT_WINDOW, windows=None)
    else:
        text = settings_of(run.protocol.report_text.model_dump())
        if options.report_text:  # the same one at another place
            text = text.model_copy(update={"source": options.report_text, "subset": None, "split": None})
    check_length(text, teacher.model, "report_text")
    found = cut_windows(text, teacher.tokenizer, "report_text")
    if run and found.sha256 != run.protocol.report_text.sha256:
        raise InputError("is not the text that the run was measured on; give that one with --report-text", text.source)
    return found


def _save(source: Path, student: Any, tokenizer: Any, folder: Path, dtype: torch.dtype) -> Any:
    """What is written: a copy in ``dtype``, with an attention that everyone has."""
    student = copy_of(student, dtype)
    with quiet(), disk_errors(folder):
        tokenizer.save_pretrained(folder)
        if uneven.is_uneven(source):
            uneven.save_like(source, student, folder)
        else:
            student.save_pretrained(folder)
    return student


def _described(
    source: Path, run: RunRecord | None, facts: Mapping[str, Any], recovered: Recovered, judge: Teacher, saved: Any,
    dtype: str, folder: Path, trust: bool,
) -> Exported:  # fmt: skip
    """Check what was written, and say what it is."""
    matrices = {matrix.name: count_zeros([matrix]) for matrix in find_matrices(saved)}
    device = judge.model.device
    check = check_in_fresh_process(judge.report, device, trust, list(matrices), dtype, folder)
    tolerance = tolerance_of(dtype, dtype_of(judge.model))
    after = recovered.rows[EVOLVED]["perplexity_after"]
    faults = faults_of(matrices, check, judge.report.sha256, after, tolerance)
    left = {"fit", "faults", "seed", "best"}
    if not recovered.rows[EVOLVED]["trained"].startswith("norms"):
        left.add("types")  # trained matrices have others than the values of types
    kept = {key: value for key, value in facts.items() if key not in left}
    now: Json = kept | written(folder, dtype) | {"recovered": recovered.rows, "check": stated(check, tolerance)}
    now["protocol"] = dict(facts.get("protocol") or _protocol(judge)) | {"recovery": recovered.protocol}
    draw_recovery(recovered.rows, recovered.protocol["held_out_dense"], folder, public_name(str(source)))
    if run:
        text = card(run_record(now | {"seed": run.seed}), now)
    else:
        text = recovered_card(public_name(str(source)), public_name(judge.model.name_or_path), recovered.rows)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return Exported(now, list(recovered_lines(recovered.rows)), faults)


def _protocol(judge: Teacher) -> Json:
    return {
        "perplexity": protocol.PERPLEXITY,
        "dtype": dtype_of(judge.model),
        "device": str(judge.model.device),
        "report_text": judge.report.protocol(),
    }
