"""Writes the pruned model as ``save_pretrained`` does, checks it in a fresh process, and describes it."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from evoprune import Exported, InputError, __version__
from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.export import compact
from problems.pruning.export.card import card, number
from problems.pruning.export.recorded import Recorded, recorded
from problems.pruning.model.attention import NAME as BLOCKED_ATTENTION
from problems.pruning.model.device import dtype_of
from problems.pruning.model.load import quiet
from problems.pruning.reconstruct.sequential import reconstruct
from problems.pruning.settings import ExportSettings
from problems.pruning.text.source import load_text

TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2
"""How far, relatively, the perplexity of the written model may be from the run's: where both
are in float32, and where either is in 16 bits, in which kernels differ that much."""

Json = dict[str, Any]


def export(
    evaluator: Evaluator, genome: Sequence[float], result: Mapping[str, Any], folder: Path, options: ExportSettings
) -> Exported:
    """Write and check ``genome``'s model. Raises :class:`evoprune.InputError` if ``result`` is of other inputs."""
    run = recorded(result)
    _refuse_other_inputs(evaluator, run)
    run_dtype = dtype_of(evaluator.model)
    dtype = options.dtype or run_dtype
    found = _prune(evaluator, genome, run)
    zeros = _save(evaluator, getattr(torch, dtype), folder)
    check = _check_in_fresh_process(evaluator, list(zeros), dtype, folder)
    tolerance = TOLERANCE if {dtype, run_dtype} == {"float32"} else HALF_TOLERANCE
    facts = _facts(evaluator, run, zeros, dtype, folder)
    faults = _faults(zeros, check, run, found, facts, tolerance)
    summary = [
        f"sparsity {facts['sparsity']['prunable']:.4%} of the prunable weights, counted from zeros; "
        f"perplexity {check['perplexity']:.6g} in {dtype}, "
        f"the run's {number(found)} in {run_dtype}"
    ]
    facts["check"] = {name: value for name, value in check.items() if name != "zeros"} | {"tolerance": tolerance}
    if not math.isfinite(check["perplexity"]):
        facts["check"]["perplexity"] = None
    if options.compact:
        facts["compact"] = _write_compact(list(zeros), folder)
        summary.append(_told(facts["compact"]))
    (folder / "README.md").write_text(card(run, facts), encoding="utf-8")
    return Exported(facts, summary, faults)


def _refuse_other_inputs(evaluator: Evaluator, run: Recorded) -> None:
    if evaluator.weights_sha256 != run.protocol.weights_sha256:
        raise InputError(
            "the model's weights are not those that the run pruned (another file, revision or dtype): "
            f"give the same with --set problem.model=..., --set problem.dtype={run.protocol.dtype}"
        )
    if evaluator.report.sha256 != run.protocol.report_text.sha256:
        raise InputError(
            f"the report text is not the one that the run reported on ({run.protocol.report_text.source}): "
            "give the same with --set problem.report_text.source=..."
        )


def _prune(evaluator: Evaluator, genome: Sequence[float], run: Recorded) -> float | None:
    """Prune the resident model, and update what remains if the run did; return the run's perplexity of that."""
    if evaluator.settings.reconstruct == "none":
        if run.protocol.reconstruct_stages:
            raise InputError("the run judged reconstructed weights: leave problem.reconstruct out of --set")
        evaluator.masks.apply(genome)
        return run.perplexity.report.evolved
    if run.perplexity.report_reconstructed is None:
        raise InputError("the run did not reconstruct: leave problem.reconstruct out of --set")
    reconstruct(evaluator, genome)
    return run.perplexity.report_reconstructed.evolved


def _save(evaluator: Evaluator, dtype: torch.dtype, folder: Path) -> dict[str, int]:
    """Write the model as it is masked now, in ``dtype``; return the zeros of each matrix written."""
    model = _copy(evaluator.model, dtype)  # the resident one may yet be asked for other candidates
    if model.config._attn_implementation == BLOCKED_ATTENTION:  # a name that no one else knows
        model.set_attn_implementation("sdpa")
    with quiet():
        model.save_pretrained(folder)
        evaluator.tokenizer.save_pretrained(folder)
    weights = {matrix.name: model.get_submodule(matrix.name).weight for matrix in evaluator.matrices}
    return {name: int(weight.numel() - torch.count_nonzero(weight)) for name, weight in weights.items()}


def _copy(model: torch.nn.Module, dtype: torch.dtype) -> Any:
    """A copy in ``dtype`` in main memory: a device that holds the model may have no room for two."""
    known: dict[int, Any] = {
        id(parameter): torch.nn.Parameter(parameter.to("cpu", dtype, copy=True), requires_grad=False)
        for parameter in model.parameters()
    }
    return copy.deepcopy(model, known).to("cpu", dtype)


def _check_in_fresh_process(evaluator: Evaluator, matrices: list[str], dtype: str, folder: Path) -> Json:
    windows, window = evaluator.report.tokens.shape
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()  # the other process needs what this one only keeps in store
    with tempfile.TemporaryDirectory() as scratch:
        text, job = Path(scratch) / "text.txt", Path(scratch) / "job.json"
        text.write_text(load_text(evaluator.report.settings, "report_text"), encoding="utf-8", newline="")
        task = {
            "folder": str(folder.resolve()), "matrices": matrices, "text": str(text), "window": window,
            "windows": windows, "dtype": dtype, "device": str(evaluator.device),
            "trust_remote_code": evaluator.settings.trust_remote_code,
        }  # fmt: skip
        job.write_text(json.dumps(task), encoding="utf-8")
        script = Path(__file__).with_name("check.py")
        done = subprocess.run(
            [sys.executable, "-P", str(script), str(job)],
            capture_output=True, text=True, cwd=scratch, env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        nothing = {"zeros": {}, "perplexity": math.inf, "tokens_sha256": None}
        return nothing | {"failure": f"plain transformers cannot load it: {reason}"}
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _faults(
    zeros: dict[str, int], check: Json, run: Recorded, expected: float | None, facts: Json, tolerance: float
) -> list[str]:
    if "failure" in check:
        return [check["failure"]]
    faults = []
    if check["zeros"] != zeros:
        wrong = [name for name, count in zeros.items() if check["zeros"].get(name) != count]
        faults.append(f"zeros were lost or gained in {', '.join(wrong)}")
    if abs(facts["sparsity"]["prunable"] - run.sparsity.prunable) > 1e-4:
        faults.append(f"sparsity {facts['sparsity']['prunable']:.6f}, but the run's is {run.sparsity.prunable:.6f}")
    if check["tokens_sha256"] != run.protocol.report_text.sha256:
        faults.append("the tokenizer that was written reads the report text otherwise")
    found = check["perplexity"]
    if expected is None or not abs(found / expected - 1) <= tolerance:
        faults.append(
            f"perplexity {found:.6g}, but the run's is {number(expected)} (tolerance {tolerance:g}, relative)"
        )
    return faults


def _facts(evaluator: Evaluator, run: Recorded, zeros: dict[str, int], dtype: str, folder: Path) -> Json:
    sizes = {matrix.name: matrix.size for matrix in evaluator.matrices}
    blocks = {matrix.name: matrix.block for matrix in evaluator.matrices}
    removed = sum(zeros.values())
    denominators = {"prunable": sum(sizes.values()), "model": evaluator.model_size}
    return {
        "evoprune": __version__,
        "base_model": public_name(run.protocol.model),
        "dtype": dtype,
        "reconstruct": evaluator.settings.reconstruct,
        "scores": evaluator.scoring.describe(),
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
        "sha256": {path.name: _sha256(path) for path in sorted(folder.glob("*.safetensors"))},
        "protocol": run.protocol.model_dump(),
    }


def public_name(model: str) -> str:
    """A hub id as it is; of a file or folder, its own name only: others have no use for this machine's paths."""
    path = Path(model)
    return path.name if path.is_absolute() or path.exists() else model


def _write_compact(matrices: list[str], folder: Path) -> Json:
    """Write the compact copy of the files in ``folder``, see that it reads the same, and compare."""
    files = sorted(path for path in folder.glob("*.safetensors"))
    start = time.perf_counter()
    dense = {name: tensor for path in files for name, tensor in load_file(path).items()}
    dense = {name: tensor.clone() for name, tensor in dense.items()}  # the file is mapped: this reads it
    dense_seconds = time.perf_counter() - start
    path = folder / compact.FILE
    compact.save_compact(dense, {f"{name}.weight" for name in matrices}, path)
    start = time.perf_counter()
    read = compact.load_compact(path)
    seconds = time.perf_counter() - start
    if read.keys() != dense.keys() or any(not torch.equal(read[name], dense[name]) for name in dense):
        raise AssertionError("the compact copy does not read as it was written")
    dense_bytes, compact_bytes = sum(file.stat().st_size for file in files), path.stat().st_size
    return {
        "file": compact.FILE, "bytes": compact_bytes, "dense_bytes": dense_bytes, "share": compact_bytes / dense_bytes,
        "load_seconds": round(seconds, 4), "dense_load_seconds": round(dense_seconds, 4),
    }  # fmt: skip


def _told(facts: Json) -> str:
    return (
        f"compact copy: {facts['bytes']:,} bytes, {facts['share']:.1%} of the dense file's {facts['dense_bytes']:,}; "
        f"read in {facts['load_seconds']:.2f} s, the dense file in {facts['dense_load_seconds']:.2f} s "
        "(once unpacked it takes as much memory: unstructured zeros save none)"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
