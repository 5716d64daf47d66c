"""Measures speed and memory of the dense and the exported model in fresh processes.

``python -m evoprune.problems.language_model.export.runtime JOB`` prints figures as JSON. JOB: the ``models`` (fields of
:class:`ModelSettings`), ``threads``, the ``length`` of texts, and the ``seconds`` of each phase.
"""

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from evoprune.plugins import digits, note
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.export.ragged_model import load_any
from evoprune.problems.language_model.models.blocks import max_positions
from evoprune.problems.language_model.models.device import ProcessFailed, environment, processor_name, run_python
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.throughput import Load, Phase, peak_bytes, throughputs
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files

_LENGTH = 512  # tokens of a prompt, and before the decoded token, at most
_SECONDS = 4.0  # for each phase
_MODELS = ("dense", "evolved")

Json = dict[str, Any]


def benchmark(session: Session, dtype: str, folder: Path, timeout: float = math.inf) -> Json | None:
    """Return the keys of :class:`.facts.Runtime` for ``dense`` and ``evolved``, the model in ``folder``, in ``dtype``.

    One process times both models in turn; memory is measured in a process for each. None if a process failed, or all
    together take longer than ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    settings = session.settings
    options = settings.model_dump(mode="json", include={"revision", "trust_remote_code"})
    options |= {"dtype": dtype, "device": str(session.resident.device)}
    dense = options | {"model": settings.model}
    evolved = options | {"model": str(folder.resolve()), "revision": None}
    most = max_positions(session.resident.model.config)
    shared = {"threads": torch.get_num_threads(), "length": min(_LENGTH, most - 1) if most else _LENGTH}
    jobs = {
        "speed": {"models": [dense, evolved], "seconds": _SECONDS},
        "memory of the dense model": {"models": [dense], "seconds": 0.0},
        "memory of the smaller model": {"models": [evolved], "seconds": 0.0},
    }
    try:
        times, *peaks = [
            _in_fresh_process(what, job | shared, deadline - time.monotonic()) for what, job in jobs.items()
        ]
    except ProcessFailed:
        return None
    both = {name: dict(zip(_MODELS, times[name], strict=True)) for name in ("prefill", "decode")}
    for name in ("peak_bytes", "load_seconds"):
        both[name] = dict(zip(_MODELS, (peak[name] for peak in peaks), strict=True))
    sizes = [bytes_of(weight_files(settings)), bytes_of(folder.glob("*.safetensors"))]
    both["file_bytes"] = dict(zip(_MODELS, sizes, strict=True))
    return both | shared | {"dtype": dtype, "processor": processor_name(session.resident.device)}


def compute_dtype(dtype: str, device: torch.device) -> str:
    """Return the dtype to compute in for weights in ``dtype``: most CPUs are slow in float16."""
    return "float32" if dtype == "float16" and device.type == "cpu" else dtype


def runtime_lines(figures: Mapping[str, Any], name: str = "this model", source: str = "dense") -> list[str]:
    """Format the figures of :func:`benchmark`; ``name`` and ``source`` name the smaller model and the other."""
    named = [
        ("files", "MB", "file_bytes", 1e6), ("loading", "s", "load_seconds", 1.0),
        ("prefill", "tokens/s", "prefill", 1.0), ("decode", "tokens/s", "decode", 1.0),
        ("peak memory", "MB", "peak_bytes", 1e6),
    ]  # fmt: skip
    return [
        f"{what}: {source} {digits(figures[key]['dense'] / unit, 3)} {word}, "
        f"{name} {digits(figures[key]['evolved'] / unit, 3)} ({figures[key]['evolved'] / figures[key]['dense']:.2f}x)"
        for what, word, key, unit in named
        if figures[key]["dense"]
    ]


def _in_fresh_process(what: str, job: Json, timeout: float) -> Json:
    note(f"measuring {what}, in a process of its own")
    return run_python("-m", __spec__.name, json.dumps(job), env=environment(), timeout=timeout)


def main(job: Json) -> Json:
    """Load and measure."""
    torch.set_num_threads(job["threads"])
    start = time.perf_counter()
    models = [load_any(ModelSettings.model_validate(settings))[0] for settings in job["models"]]
    seconds = time.perf_counter() - start
    phases: tuple[Phase, ...] = ("prefill", "decode")
    figures: Json = {phase: throughputs(models, Load(phase, length=job["length"]), job["seconds"]) for phase in phases}
    return figures | {"peak_bytes": peak_bytes(models[0].device), "load_seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
