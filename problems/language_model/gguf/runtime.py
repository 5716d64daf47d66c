"""What llama.cpp makes of .gguf files: each is loaded in a new process, which imports nothing of evoprune."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evoprune import note
from problems.language_model.evaluation.objectives import Divergence
from problems.language_model.export.runtime import bytes_of
from problems.language_model.model.device import processor
from problems.language_model.text.source import load_text
from problems.language_model.text.windows import Windows

_LENGTH = 512
"""Tokens of a prompt, if the model has as many positions."""

_SECONDS = 4.0
"""How long both models are timed in turn."""

_MODELS = ("dense", "evolved")

Json = dict[str, Any]


def checked(path: Path, report: Windows, dense: Divergence) -> Json:
    """What llama.cpp finds of the file ``path`` on the report text: ``perplexity``, ``divergence`` from ``dense``.

    Besides ``load_seconds``, ``peak_bytes``, and ``first_other_token``, the first token of the text that llama.cpp's
    tokenizer has otherwise than transformers'; None if there is none. If it cannot be run, ``failure`` says why.
    """
    with tempfile.TemporaryDirectory() as scratch:
        known, text = Path(scratch) / "known.npz", Path(scratch) / "text.txt"
        text.write_text(load_text(report.settings, "report_text"), encoding="utf-8", newline="")
        kept = {name: tensor.numpy() for name, tensor in dense.known.items()} | {"tokens": report.tokens.numpy()}
        np.savez(known, allow_pickle=False, **kept)
        begin = report.begin is not None
        found = _in_fresh_process([path], 0.0, {"known": str(known), "text": str(text), "begin": begin})
    if "failure" in found:
        return {"perplexity": math.inf, "divergence": math.inf, "failure": f"cannot be run: {found['failure']}"}
    wanted = ("perplexity", "divergence", "first_other_token", "peak_bytes")
    return {name: found[name] for name in wanted} | {"load_seconds": found["load_seconds"][0]}


def compared(dense: Path, evolved: Path, check: Json) -> Json | None:
    """The speeds of two files, timed in turn, and the memory and seconds that loading takes.

    As :func:`problems.language_model.export.runtime.runtimes`. ``check``: what :func:`checked` found of ``evolved``.
    None where they cannot be measured.
    """
    alone, times = _in_fresh_process([dense], 0.0), _in_fresh_process([dense, evolved], _SECONDS)
    if "failure" in alone or "failure" in times or "failure" in check:
        return None
    pairs = {name: times[name] for name in ("prefill", "decode")}
    pairs["peak_bytes"] = [alone["peak_bytes"], check["peak_bytes"]]
    pairs["load_seconds"] = [alone["load_seconds"][0], check["load_seconds"]]
    pairs["file_bytes"] = [bytes_of([path]) for path in (dense, evolved)]
    both: Json = {name: dict(zip(_MODELS, pair, strict=True)) for name, pair in pairs.items()}
    cpu = processor(torch.device("cpu"))
    return both | {"threads": torch.get_num_threads(), "length": times["length"], "processor": cpu}


def _in_fresh_process(models: list[Path], seconds: float, scored: Json | None = None) -> Json:
    """What ``check.py`` prints; ``failure`` if it fails."""
    names = " and ".join(path.name for path in models)
    note(f"running {names} in llama.cpp, in a process of its own")
    job = {"models": [str(path.resolve()) for path in models], "seconds": seconds, **(scored or {})}
    job |= {"threads": torch.get_num_threads(), "length": _LENGTH}
    script = Path(__file__).with_name("check.py")
    done = subprocess.run([sys.executable, "-P", str(script), json.dumps(job)], capture_output=True, text=True)
    if done.returncode:
        return {"failure": _reason(done.stderr) or f"exit code {done.returncode}"}
    found: Json = json.loads(done.stdout)
    return found


def _reason(log: str) -> str:
    """Why llama.cpp, or the script, failed: the first error in its log, or else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [line.split("error loading model: ")[1] for line in lines if "error loading model: " in line]
    asserted = [line for line in lines if "GGML_ASSERT" in line]
    return next(iter([*told, *asserted, *reversed(lines)]), "")
