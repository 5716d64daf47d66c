"""Measures speed and memory of the dense and the written model, in processes of their own.

``python -m evoprune.problems.language_model.export.runtime JOB`` prints figures as JSON. JOB: the ``models`` (fields of
:class:`ModelSettings`), ``threads``, the ``length`` of texts, and the ``seconds`` of each phase.
"""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from evoprune.console.formatting import digits
from evoprune.console.phase import note
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.export.ragged_model import load_any
from evoprune.problems.language_model.models.blocks import max_positions
from evoprune.problems.language_model.models.device import Failed, environment, processor_name, run_python
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.throughput import Load, Phase, peak_bytes, throughputs
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files

_LENGTH = 512  # tokens of a prompt, and before the one that is decoded, if the model has as many positions
_SECONDS = 4.0  # for each phase
_MODELS = ("dense", "evolved")

Json = dict[str, Any]


def runtimes(session: Session, dtype: str, folder: Path) -> Json | None:
    """Measure ``prefill`` and ``decode`` in tokens a second, ``peak_bytes``, ``load_seconds`` and ``file_bytes``.

    Each of ``dense`` and ``evolved``, the model in ``folder``, computed in ``dtype``; and the circumstances. Speeds are
    timed in turn in one process, the rest in one for each model. None if a process failed.
    """
    given = session.settings
    options = given.model_dump(mode="json", include={"revision", "trust_remote_code"})
    options |= {"dtype": dtype, "device": str(session.resident.device)}
    dense = options | {"model": given.model}
    evolved = options | {"model": str(folder.resolve()), "revision": None}
    most = max_positions(session.resident.model.config)
    shared = {"threads": torch.get_num_threads(), "length": min(_LENGTH, most - 1) if most else _LENGTH}
    jobs = {
        "speed": {"models": [dense, evolved], "seconds": _SECONDS},
        "memory of the dense model": {"models": [dense], "seconds": 0.0},
        "memory of the smaller model": {"models": [evolved], "seconds": 0.0},
    }
    found = [_in_fresh_process(what, job | shared) for what, job in jobs.items()]
    if None in found:
        return None
    times, *peaks = found
    both = {name: dict(zip(_MODELS, times[name], strict=True)) for name in ("prefill", "decode")}  # type: ignore[index]
    for name in ("peak_bytes", "load_seconds"):
        both[name] = dict(zip(_MODELS, (peak[name] for peak in peaks), strict=True))  # type: ignore[index]
    sizes = [bytes_of(weight_files(given)), bytes_of(folder.glob("*.safetensors"))]
    both["file_bytes"] = dict(zip(_MODELS, sizes, strict=True))
    return both | shared | {"dtype": dtype, "processor": processor_name(session.resident.device)}


def computing(dtype: str, device: torch.device) -> str:
    """The dtype to compute in with weights in ``dtype``: in float16 most CPUs are many times slower than in float32."""
    return "float32" if dtype == "float16" and device.type == "cpu" else dtype


def lines(found: Mapping[str, Any], name: str = "this model", source: str = "dense") -> list[str]:
    """Lines for people on the figures of :func:`runtimes`. ``name``, ``source``: of the smaller model and the other."""
    named = [
        ("files", "MB", "file_bytes", 1e6), ("loading", "s", "load_seconds", 1.0),
        ("prefill", "tokens/s", "prefill", 1.0), ("decode", "tokens/s", "decode", 1.0),
        ("peak memory", "MB", "peak_bytes", 1e6),
    ]  # fmt: skip
    return [
        f"{what}: {source} {digits(found[key]['dense'] / unit, 3)} {word}, "
        f"{name} {digits(found[key]['evolved'] / unit, 3)} ({found[key]['evolved'] / found[key]['dense']:.2f}x)"
        for what, word, key, unit in named
        if found[key]["dense"]
    ]


def _in_fresh_process(what: str, job: Json) -> Json | None:
    note(f"measuring {what}, in a process of its own")
    with suppress(Failed):
        return run_python("-m", __spec__.name, json.dumps(job), env=environment())
    return None


def main(job: Json) -> Json:
    """Load and measure."""
    torch.set_num_threads(job["threads"])
    start = time.perf_counter()
    models = [load_any(ModelSettings.model_validate(settings))[0] for settings in job["models"]]
    seconds = time.perf_counter() - start
    phases: tuple[Phase, ...] = ("prefill", "decode")
    found: Json = {phase: throughputs(models, Load(phase, length=job["length"]), job["seconds"]) for phase in phases}
    return found | {"peak_bytes": peak_bytes(models[0].device), "load_seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
