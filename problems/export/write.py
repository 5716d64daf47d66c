"""Writes the pruned model as ``save_pretrained`` does, has it checked, and describes it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from evoprune import Exported, InputError, __version__, plain
from problems.evaluation.session import Session
from problems.export import ragged_model as uneven
from problems.export.card import card
from problems.export.checking import check_in_fresh_process, faults_of, stated, tolerance_of
from problems.export.format import ExportFormat
from problems.export.runtime import bytes_of, computing, lines, runtimes
from problems.gguf.encoded import Encoded
from problems.models.blocks import Matrix, count_zeros, find_matrices
from problems.models.load import copy_of, quiet, stored_dtype, weight_files
from problems.models.tensor_file import disk_errors
from problems.results.labels import about
from problems.results.recovery_figures import draw_recovery
from problems.results.run_record import RunRecord, run_record
from problems.transforms.transform import Transform

Json = dict[str, Any]


class Folder(ExportFormat):
    """A folder, as ``save_pretrained`` writes it."""

    def check(self) -> None:
        """Refuse a base: a folder needs none."""
        if self.options.base:
            raise InputError("a folder takes nothing from a .gguf file: give OUT.gguf, or leave it out", "--base")

    def write(
        self, result: Mapping[str, Any], place: Path, recovered: Mapping[str, torch.Tensor] | None = None
    ) -> Exported:
        """See :meth:`ExportFormat.write`."""
        self.check()
        session, genome, recovered = self.session, self.genome, recovered or {}
        run, found = of_what_is_written(run_record(result), recovered)
        refuse_other_inputs(session, run)
        run_dtype = session.resident.dtype
        dtype = self.options.dtype or _own_dtype(session)
        session.transform.finalise(genome)
        rounded = session.transform.encoded()
        matrices = _save(session, genome, getattr(torch, dtype), place, recovered)
        counted = {matrix.name: count_zeros([matrix]) for matrix in matrices}
        trust = session.settings.trust_remote_code
        device = session.resident.device
        check = check_in_fresh_process(session.texts.report, device, trust, list(counted), dtype, place)
        tolerance = tolerance_of(dtype, run_dtype)
        facts = written(place, dtype) | described(session, run, matrices, counted)
        facts["types"] = dict(Counter(each.kind for each in rounded.values()))
        faults = faults_of(counted, check, run.protocol.report_text.sha256, found, tolerance)
        # those may have other zeros than the run counted
        trained = rounded.keys() & recovered.keys() if session.transform.sparse else recovered
        if not trained and abs(facts["sparsity"]["prunable"] - run.sparsity.prunable) > 1e-4:
            faults.append(f"sparsity {facts['sparsity']['prunable']:.6f}, but the run's is {run.sparsity.prunable:.6f}")
        source = bytes_of(weight_files(session.settings))
        summary = [
            f"{facts['bytes']:,} bytes of weights in {dtype}" + (f"; the source has {source:,}" if source else ""),
            f"sparsity {facts['sparsity']['prunable']:.4%} of the prunable weights, counted in what is written; "
            f"perplexity {check['perplexity']:.6g}, "
            f"the run's {plain(found)} in {run_dtype}",
        ]
        if not self.options.untimed:
            facts["runtime"] = runtimes(session, computing(dtype, device), place)
            summary += lines(facts["runtime"]) if facts["runtime"] else ["speed and memory could not be measured"]
        facts["check"] = stated(check, tolerance)
        if run.recovered:
            how = run.protocol.recovery
            draw_recovery(facts["recovered"], how.held_out_dense if how else None, place, about(session.settings, ()))
        (place / "README.md").write_text(card(run, facts), encoding="utf-8")
        return Exported(facts, summary, faults)


def _own_dtype(session: Session) -> str:
    """The dtype of the model's source, so that files are no larger; the run's, if that is smaller."""
    run_dtype = session.resident.dtype
    return run_dtype if run_dtype != "float32" else stored_dtype(session.settings) or run_dtype


def of_what_is_written(run: RunRecord, recovered: Mapping[str, torch.Tensor] | None) -> tuple[RunRecord, float | None]:
    """What ``run`` says of the model that is written, and its perplexity on the report text.

    ``recovered``: the weights that the run recovered; None if there are none, or they did not help.
    """
    if recovered and run.recovered:
        return run, run.recovered["evolved"].perplexity_after
    found = (run.perplexity.report_reconstructed or run.perplexity.report).evolved
    return run.model_copy(update={"recovered": None}), found


def refuse_other_inputs(session: Session, run: RunRecord) -> None:
    """Raise :class:`evoprune.InputError` unless model, report text and transform are those of the ``run``."""
    if session.resident.weights_sha256 != run.protocol.weights_sha256:
        raise InputError(
            "the model's weights are not those that the run pruned (another file, revision or dtype): "
            f"give the same with --set problem.model=..., --set problem.dtype={run.protocol.dtype}"
        )
    now, before = session.texts.report.begin, run.protocol.report_text.begin
    if now != before:
        raise InputError(
            f"windows begin with {now or 'no added token'} now, and began with {before or 'none'} in the run: "
            f"give --set problem.report_text.begin={'true' if before else 'false'}, and the same for its other texts"
        )
    if session.texts.report.sha256 != run.protocol.report_text.sha256:
        raise InputError(
            f"the report text is not the one that the run reported on ({run.protocol.report_text.source}): "
            "give the same with --set problem.report_text.source=..."
        )
    recorded = run.protocol.model_extra or {}
    for key, value in session.transform.describe().items():
        if key in recorded and recorded[key] != value:
            raise InputError(f"{key} was {recorded[key]} in the run and is {value} now: leave it out of --set")


def _save(
    session: Session,
    genome: Sequence[float],
    dtype: torch.dtype,
    folder: Path,
    recovered: Mapping[str, torch.Tensor],
) -> list[Matrix]:
    """Write the model as it stands, but for the weights ``recovered``, in ``dtype``; return its matrices."""
    model = copy_of(session.resident.model, dtype)  # the resident one may yet be asked for other candidates
    put_recovered(model, genome, recovered, session.transform)
    with quiet(), disk_errors(folder):
        session.resident.tokenizer.save_pretrained(folder)
        if session.transform.plain:
            session.transform.write(model)
            model.save_pretrained(folder)
        else:
            shaping = session.transform.shaping(genome)
            uneven.save(model, session.settings.transforms, shaping, folder)  # type: ignore[attr-defined]
    return find_matrices(model)


def put_recovered(
    model: Any, genome: Sequence[float], recovered: Mapping[str, torch.Tensor], transform: Transform
) -> Mapping[str, Encoded]:
    """Set parameters of ``model``, a copy of the resident one of ``genome``, to those ``recovered``, by name.

    Returns what a .gguf file holds of ``model`` in a quantised type. Matrices that were trained are quantised after it;
    if none was, all are as they were. Raises :class:`evoprune.InputError` as :func:`put_weights` does.
    """
    held = transform.encoded()
    put_weights(model, recovered)
    return transform.encode(model, genome) if held.keys() & recovered.keys() else held


def put_weights(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Set the parameters of ``model`` to ``weights``, by name. Raises :class:`evoprune.InputError` if they differ."""
    parameters = dict(model.named_parameters())
    for name, weight in weights.items():
        if name not in parameters or parameters[name].shape != weight.shape:
            raise InputError(f"the recovered weights are not this model's: {name}")
        parameters[name].data.copy_(weight)


def described(session: Session, run: RunRecord, matrices: list[Matrix], zeros: dict[str, int]) -> Json:
    """What is known of the model that is written, in any form. ``zeros``: those of each of its ``matrices``."""
    sizes = {matrix.name: matrix.size for matrix in matrices}
    blocks = {matrix.name: matrix.block for matrix in matrices}
    denominators = {"prunable": session.resident.prunable_weights, "model": session.resident.parameters}
    removed = denominators["prunable"] - sum(sizes.values()) + sum(zeros.values())
    return {
        "base_model": public_name(run.protocol.model),
        "transform": session.transform.describe(),
        "cost": run.cost.model_dump() if run.cost else None,
        "sparsity": {
            **{name: removed / size for name, size in denominators.items()},
            "denominators": denominators,
            "matrices": {
                name: {"block": blocks[name], "zeros": count, "weights": sizes[name], "sparsity": count / sizes[name]}
                for name, count in zeros.items()
            },
        },
        "perplexity": run.perplexity.model_dump(),
        "gap_closed": run.gap_closed,
        "chosen": run.chosen,
        "rival": run.rival,
        "recovered": {name: row.model_dump() for name, row in run.recovered.items()} if run.recovered else None,
        "protocol": run.protocol.model_dump(),
    }


def public_name(model: str) -> str:
    """A hub id unchanged; for a file or folder, its name without the path on this machine."""
    path = Path(model)
    return path.name if path.is_absolute() or path.exists() else model


def written(folder: Path, dtype: str) -> Json:
    """What is known of the files in ``folder``: by what, in which form and format, their bytes and hashes."""
    files = sorted(folder.glob("*.safetensors"))
    return {
        "evoprune": __version__,
        "dtype": dtype,
        "uneven": uneven.is_uneven(folder),
        "bytes": bytes_of(files),
        "sha256": {path.name: sha256_of(path) for path in files},
    }


def sha256_of(path: Path) -> str:
    """The hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
