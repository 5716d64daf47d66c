"""Measures how fast a model runs and what memory it takes, each model in a process of its own.

``python -m problems.language_model.export.runtime SETTINGS`` prints the figures of one model as JSON; SETTINGS is JSON:
:class:`ModelSettings` and a number of ``threads``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from problems.language_model.export.uneven import is_uneven, load
from problems.language_model.model.device import processor
from problems.language_model.model.load import load_model
from problems.language_model.session import Session
from problems.language_model.settings import ModelSettings
from problems.language_model.speed import speed

_LENGTH = 512
"""Tokens of a prompt, and before the one that is decoded, if the model has as many positions."""

Json = dict[str, Any]


def runtimes(session: Session, dtype: str, folder: Path) -> Json | None:
    """The ``dense`` model's and the written one's (``evolved``) speeds and memory, and the circumstances.

    See :class:`problems.language_model.speed.Speed`. None where a process could not measure.
    """
    given = session.settings.model_dump(mode="json", include={"revision", "trust_remote_code"})
    given |= {"dtype": dtype, "device": str(session.resident.device), "threads": torch.get_num_threads()}
    dense = _in_fresh_process("dense", given | {"model": session.settings.model})
    evolved = _in_fresh_process("smaller", given | {"model": str(folder.resolve()), "revision": None})
    if dense is None or evolved is None:
        return None
    return {
        "dense": dense, "evolved": evolved, "threads": given["threads"],
        "processor": processor(session.resident.device), "length": _length(session.resident.model),
    }  # fmt: skip


def lines(found: Json) -> list[str]:
    """``found`` by :func:`runtimes`, for people."""
    dense, evolved = found["dense"], found["evolved"]
    named = [
        ("prefill", "tokens/s", "prefill_tokens_per_second", 1.0),
        ("decode", "tokens/s", "decode_tokens_per_second", 1.0),
        ("peak memory", "MB", "peak_bytes", 1e6),
    ]
    return [
        f"{name}: dense {dense[key] / unit:,.0f} {word}, evolved {evolved[key] / unit:,.0f} "
        f"({evolved[key] / dense[key]:.2f}x)"
        for name, word, key, unit in named
    ]


def finding_evoprune() -> dict[str, str]:
    """The environment of a process that imports the same evoprune as this one."""
    home = str(Path(__file__).resolve().parents[3])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))}


def _in_fresh_process(what: str, settings: Json) -> Json | None:
    print(f"timing the {what} model in a process of its own", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", __spec__.name, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, env=finding_evoprune())
    return json.loads(done.stdout) if done.returncode == 0 else None


def _length(model: Any) -> int:
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min(_LENGTH, positions - 1) if positions else _LENGTH


def main(settings: Json) -> Json:
    """Load and measure one model."""
    torch.set_num_threads(settings.pop("threads"))
    chosen = ModelSettings.model_validate(settings)
    folder = Path(chosen.model)
    model = load(folder).to(chosen.device) if is_uneven(folder) else load_model(chosen)[0]
    return asdict(speed(model, length=_length(model)))


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
