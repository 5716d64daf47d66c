"""Checks a folder with a model in a fresh process, which knows no more than a user's, and says how it differs."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from evoprune import finite, plain
from problems.export import ragged_model as uneven
from problems.export.runtime import bytes_of, computing
from problems.models.device import free_memory, release_memory
from problems.models.fresh_process import Failed, environment, run_python
from problems.texts.source import load_text
from problems.texts.windows import Windows

_ROOM = 1.5
"""A check takes a GPU with so many times the bytes of the weights free: this process still holds its model there."""

TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2
"""The largest relative difference between the perplexities of the written model and of the run:
if both are in float32, and if either is in 16 bits, where kernels differ more."""

Json = dict[str, Any]


def check_in_fresh_process(
    report: Windows, device: torch.device, trust: bool, matrices: list[str], dtype: str, folder: Path
) -> Json:
    """What a new process finds in ``folder``, where weights are in ``dtype``: see ``check.py``.

    ``trust``: whether the model's own code may run.
    """
    windows, window = report.tokens.shape
    if device.type == "cuda":
        release_memory(device)  # the other process needs the memory that this one only caches
        if free_memory(device) < _ROOM * bytes_of(folder.glob("*.safetensors")):
            device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as scratch:
        text, job = Path(scratch) / "text.txt", Path(scratch) / "job.json"
        text.write_text(load_text(report.settings, "report_text"), encoding="utf-8", newline="")
        task = {
            "folder": str(folder.resolve()), "matrices": matrices, "text": str(text), "window": window,
            "windows": windows, "begin": report.begin is not None, "dtype": computing(dtype, device),
            "device": str(device), "trust_remote_code": trust, "uneven": uneven.is_uneven(folder),
        }  # fmt: skip
        job.write_text(json.dumps(task), encoding="utf-8")
        script = Path(__file__).with_name("check.py")
        variables = environment() if uneven.is_uneven(folder) else dict(os.environ)
        try:
            return run_python("-P", str(script), str(job), cwd=scratch, env=variables | {"HF_HUB_OFFLINE": "1"})
        except Failed as failed:
            nothing = {"zeros": {}, "perplexity": math.inf, "tokens_sha256": None}
            return nothing | {"failure": f"cannot be loaded: {failed}"}


def faults_of(
    zeros: dict[str, int], check: Json, text_sha256: str, expected: float | None, tolerance: float
) -> list[str]:
    """How ``check`` differs from what is expected: zeros of each matrix, the tokens of the text, the perplexity."""
    if "failure" in check:
        return [check["failure"]]
    faults = []
    if check["zeros"] != zeros:
        wrong = [name for name, count in zeros.items() if check["zeros"].get(name) != count]
        faults.append(f"zeros were lost or gained in {', '.join(wrong)}")
    if check["tokens_sha256"] != text_sha256:
        faults.append("the written tokenizer gives other tokens for the report text")
    found = check["perplexity"]
    if expected is None or not abs(found / expected - 1) <= tolerance:
        faults.append(f"perplexity {found:.6g}, but the run's is {plain(expected)} (tolerance {tolerance:g}, relative)")
    return faults


def stated(check: Json, tolerance: float) -> Json:
    """``check`` as ``evoprune.json`` holds it: without counts of zeros, and null for an infinite perplexity."""
    kept = {name: value for name, value in check.items() if name != "zeros"}
    return kept | {"perplexity": finite(check["perplexity"]), "tolerance": tolerance}


def tolerance_of(written: str, measured: str) -> float:
    """The tolerance for files in the dtype ``written`` of a model that was measured in ``measured``."""
    return TOLERANCE if {written, measured} == {"float32"} else HALF_TOLERANCE
