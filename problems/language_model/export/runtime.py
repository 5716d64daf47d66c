"""Measures how fast the dense and the written model run, and what memory each takes, in processes of their own.

``python -m problems.language_model.export.runtime JOB`` prints figures as JSON. JOB is JSON: the ``models``, each with
the fields of :class:`ModelSettings`, the number of ``threads``, the ``length`` of texts, and how many ``seconds`` to
time each phase.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from evoprune import note
from problems.language_model.export.uneven import load_any
from problems.language_model.model.blocks import positions
from problems.language_model.model.device import processor
from problems.language_model.session import Session
from problems.language_model.settings import ModelSettings
from problems.language_model.speed import Load, Phase, peak_bytes, speeds

_LENGTH = 512
"""Tokens of a prompt, and before the one that is decoded, if the model has as many positions."""

_SECONDS = 4.0
"""How long each phase is timed."""

_MODELS = ("dense", "evolved")

Json = dict[str, Any]


def runtimes(session: Session, dtype: str, folder: Path) -> Json | None:
    """``prefill``, ``decode`` in tokens a second, and ``peak_bytes``, each of ``dense`` and ``evolved``.

    ``evolved`` is what was written to ``folder``. Beside them the circumstances. Both models are timed in turn in one
    process; the memory is that of a process for each. None where a process could not measure.
    """
    options = session.settings.model_dump(mode="json", include={"revision", "trust_remote_code"})
    options |= {"dtype": dtype, "device": str(session.resident.device)}
    dense = options | {"model": session.settings.model}
    evolved = options | {"model": str(folder.resolve()), "revision": None}
    shared = {"threads": torch.get_num_threads(), "length": _length(session.resident.model)}
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
    both["peak_bytes"] = dict(zip(_MODELS, (peak["peak_bytes"] for peak in peaks), strict=True))  # type: ignore[index]
    return both | shared | {"processor": processor(session.resident.device)}


def lines(found: Json) -> list[str]:
    """``found`` by :func:`runtimes`, for people."""
    named = [("prefill", "tokens/s", "prefill", 1.0), ("decode", "tokens/s", "decode", 1.0)]
    named.append(("peak memory", "MB", "peak_bytes", 1e6))
    return [
        f"{name}: dense {found[key]['dense'] / unit:,.0f} {word}, evolved {found[key]['evolved'] / unit:,.0f} "
        f"({found[key]['evolved'] / found[key]['dense']:.2f}x)"
        for name, word, key, unit in named
    ]


def finding_evoprune() -> dict[str, str]:
    """The environment of a process that imports the same evoprune as this one."""
    home = str(Path(__file__).resolve().parents[3])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))}


def _in_fresh_process(what: str, job: Json) -> Json | None:
    note(f"measuring {what}, in a process of its own")
    command = [sys.executable, "-m", __spec__.name, json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=finding_evoprune())
    return json.loads(done.stdout) if done.returncode == 0 else None


def _length(model: Any) -> int:
    most = positions(model)
    return min(_LENGTH, most - 1) if most else _LENGTH


def main(job: Json) -> Json:
    """Load and measure."""
    torch.set_num_threads(job["threads"])
    models = [load_any(ModelSettings.model_validate(settings))[0] for settings in job["models"]]
    phases: tuple[Phase, ...] = ("prefill", "decode")
    found: Json = {phase: speeds(models, Load(phase, length=job["length"]), job["seconds"]) for phase in phases}
    return found | {"peak_bytes": peak_bytes(models[0].device)}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
