"""Runs .gguf files in llama.cpp: each in a new process, which imports nothing of evoprune."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evoprune import InputError
from evoprune.console.phase import note
from evoprune.problems.language_model.gguf.base import Base
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.device import Failed, processor_name, run_python
from evoprune.problems.language_model.models.memory import Room
from evoprune.problems.language_model.models.throughput import Load

_LENGTH = 512  # tokens of a prompt, if the model has as many positions
_SECONDS = 4.0  # how long both models are timed in turn, in all processes

_BUFFERS = 2**29  # bytes of activations, logits and keys of a prompt, about

_PROCESSES = 3
"""Number of processes that time both models: one may be a third slower than another with the same file throughout."""

Json = dict[str, Any]
Floats = NDArray[np.float64]


def checked(
    path: Path, text: str, tokens: torch.Tensor, begin: bool, dense: Mapping[str, torch.Tensor], memory: bool = True,
    run: Mapping[str, torch.Tensor] | None = None, variants: torch.Tensor | None = None, timeout: float = math.inf,
    whole: int | None = None,
) -> Json:  # fmt: skip
    """Measure the file ``path`` on ``tokens`` ``(windows, window)``: ``perplexity``, and ``divergence`` from ``dense``.

    ``predictions``: the keys of :class:`evoprune.problems.language_model.export.facts.Predictions`, as in llama.cpp's
    ``llama-perplexity --kl-divergence``; None where some are infinite. ``text``: of the tokens; ``begin``: whether each
    window begins with a token outside the text. ``dense``: the dense model's probabilities,
    :attr:`evoprune.problems.language_model.evaluation.measure.Divergence.known`. ``run``: of the file's model in
    PyTorch; then also ``loss_error``, the standard error of the mean difference of losses from it, and the mean
    ``runtime_divergence`` with ``runtime_error``. ``variants``: rows of tokens, for
    :func:`evoprune.problems.language_model.gguf.llama.answers`. Also returns ``load_seconds``, ``peak_bytes``, and
    ``first_other_token``, where llama.cpp's tokenizer first differs from transformers', or None. ``failure``: why it
    was not run. ``memory``: read a whole prompt, for the peak. ``timeout``: seconds that it may take. ``whole``: the
    descriptor of a file of the dense model's predictions,
    :class:`evoprune.problems.language_model.evaluation.prediction_file.PredictionFile`; of ``dense`` only its losses
    are read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        known, words = Path(scratch) / "known.npz", Path(scratch) / "text.txt"
        words.write_text(text, encoding="utf-8", newline="")
        tensors = {**dense, "tokens": tokens} | {f"run_{name}": tensor for name, tensor in (run or {}).items()}
        tensors |= {} if variants is None else {"variants": variants}
        np.savez(known, allow_pickle=False, **{name: tensor.numpy() for name, tensor in tensors.items()})
        _tell([path])
        job: Json = {"known": str(known), "text": str(words), "begin": begin, "whole": whole}
        found = _in_fresh_process([path], 0.0, timeout, phases=[], length=_LENGTH if memory else 1, **job)
    if "failure" in found:
        lost = dict.fromkeys(("perplexity", "divergence"), math.inf)
        return lost | {"predictions": None, "failure": f"was not run: {found['failure']}"}
    names = ("losses", "divergences", "same", "between")
    losses, divergences, same, between = (np.array(found.pop(name)) for name in names)
    scores = _scores(losses, divergences, same, between, tensors)
    scores["first_other_token"] = _first_difference(np.array(found.pop("tokens")), tokens.numpy(), begin)
    scores |= {name: found[name] for name in ("peak_bytes", "answers") if name in found}
    return scores | {"load_seconds": found["load_seconds"][0]}


def _scores(losses: Floats, divergences: Floats, same: Floats, between: Floats, known: Mapping[str, Tensor]) -> Json:
    """Return means over tokens; each of ``losses`` and so on has one value a token, as ``known`` has."""
    behind = losses - known["loss"].numpy()
    changes = np.exp(-losses) - np.exp(-known["loss"].numpy())
    names, quantiles = ("median", "p99", "p999", "largest"), np.quantile(divergences, (0.5, 0.99, 0.999, 1))
    table = dict(zip(names, quantiles.tolist(), strict=True)) | {
        "error": _error(divergences),
        "same_top": float(same.mean()),
        "same_top_error": _error(same),
        "probability_change": math.sqrt(np.square(changes).mean()),
        "behind": float(behind.mean()),
        "behind_error": _error(behind),
    }
    mean = float(losses.mean())
    scores: Json = {
        "perplexity": math.exp(mean) if mean < 700 else math.inf,
        "divergence": float(divergences.mean()),
        "predictions": table if all(map(math.isfinite, table.values())) else None,
    }
    if not len(between):
        return scores
    runs = {"runtime_divergence": float(between.mean()), "runtime_error": _error(between)}
    return scores | runs | {"loss_error": _error(losses - known["run_loss"].numpy())}


def _error(values: Floats) -> float:
    """Standard error of the mean; 0 of a single value."""
    return float(values.std()) / math.sqrt(max(1, len(values) - 1))


def _first_difference(ours: NDArray[np.int64], tokens: NDArray[np.int64], begin: bool) -> int | None:
    """Return the first token that llama.cpp's tokenizer has otherwise than ``tokens`` ``(windows, window)``, if any.

    ``ours``: as llama.cpp reads the text of all windows, or the beginning of the first one's. ``begin``: each window
    begins with a token that the text's tokenizer adds. It is expected once, and counted once.
    """
    read = tokens ^ (tokens >> 63)
    expected = np.concatenate([read[0, :1], read[:, 1:].flatten()]) if begin else read.flatten()
    ours = ours[: len(expected)]
    if len(ours) < len(expected):  # the text is of one window, which may have been cut
        ours = ours[: read.shape[1]]
    same = ours == expected[: len(ours)]
    return None if len(ours) and same.all() else int(np.append(same, False).argmin())


def compared(dense: Path, evolved: Path, *checks: Json, timeout: float = math.inf) -> Json | None:
    """The speeds of two files, timed in turn, and memory and seconds of loading; None where they are not measured.

    As :func:`evoprune.problems.language_model.export.runtime.benchmark`. ``checks``: the results of :func:`checked`;
    ``timeout``: seconds that it may take.
    """
    files = dense, evolved
    _tell(files)
    times = [_in_fresh_process(files, _SECONDS / _PROCESSES, timeout / _PROCESSES) for _ in range(_PROCESSES)]
    if failed := [each["failure"] for each in (*times, *checks) if "failure" in each]:
        note(f"speeds are not compared: {failed[0]}")
        return None
    pairs: dict[str, Sequence[float]] = {
        phase: [median(speeds) for speeds in zip(*(each[phase] for each in times), strict=True)]
        for phase in ("prefill", "decode")
    }
    pairs |= {name: [check[name] for check in checks] for name in ("peak_bytes", "load_seconds")}
    pairs["file_bytes"] = [path.stat().st_size for path in files]
    both: Json = {name: dict(zip(("dense", "evolved"), pair, strict=True)) for name, pair in pairs.items()}
    cpu = processor_name(torch.device("cpu"))
    return both | {"threads": torch.get_num_threads(), "length": times[0]["length"], "processor": cpu}


def milliseconds(models: Sequence[Path], load: Load, seconds: float) -> list[float]:
    """The latency of a pass of ``load``, of one sequence, of each of ``models``, timed in turn for some ``seconds``."""
    found = _in_fresh_process(models, seconds, length=load.length, phases=[load.phase])
    if "failure" in found:
        raise InputError(f"llama.cpp cannot time it: {found['failure']}", "problem.budget")
    if found["length"] < load.length:
        raise InputError(f"llama.cpp has room for {found['length']} tokens of this model", "problem.budget.length")
    passed = load.length if load.phase == "prefill" else 1
    return [1000 * passed / speed for speed in found[load.phase]]


def memory(path: Path, context: int, kv: str) -> Json:
    """The bytes that llama.cpp takes for the file ``path``: :func:`evoprune.problems.language_model.gguf.llama.memory`.

    Raises :class:`evoprune.InputError` where it does not load.
    """
    found = _run({"file": str(path.resolve()), "context": context, "kv": kv})
    if "failure" in found:
        raise InputError(f"llama.cpp cannot load it: {found['failure']}", str(path))
    return found


def presets(model: Any, base: Base, importance: bool) -> dict[str, dict[str, str]]:
    """By the name of a preset, such as ``Q4_K_M``, the type of each parameter that llama.cpp quantises with it.

    ``model``: a dense one. ``importance``: whether there is an importance matrix, which changes some presets.
    """
    whole = contents(model, base, {})
    parameters = {slot.name: slot.parameter for slot in whole.layout.slots if slot.parameter}
    with tempfile.TemporaryDirectory() as scratch:
        outline = Path(scratch) / "outline.gguf"
        whole.write_outline(outline)
        found = _run({"file": str(outline), "importance": importance}, script="quantiser.py")
    if "failure" in found:
        raise InputError(f"llama.cpp does not say what its presets are: {found['failure']}")
    return {
        name: {parameters[tensor]: kind for tensor, kind in kinds.items() if tensor in parameters}
        for name, kinds in found.items()
    }


def quantise(
    source: Path, out: Path, preset: str, importance: Mapping[str, torch.Tensor], timeout: float = math.inf
) -> None:
    """Let llama.cpp write its ``preset`` of ``source``; ``importance``: mean squared inputs by tensor.

    Raises :class:`evoprune.InputError` where it does not, or takes longer than ``timeout`` seconds.
    """
    with tempfile.TemporaryDirectory() as scratch:
        known = Path(scratch) / "importance.npz"
        np.savez(known, allow_pickle=False, **{name: each.numpy() for name, each in importance.items()})
        job = {"file": str(source.resolve()), "out": str(out), "preset": preset, "importance": str(known)}
        found = _run(job | {"threads": torch.get_num_threads()}, timeout, "quantiser.py")
    if "failure" in found:
        raise InputError(f"llama.cpp does not make {preset}: {found['failure']}", str(source))


def _tell(models: Sequence[Path]) -> None:
    note(f"running {' and '.join(path.name for path in models)} in llama.cpp, in a process of its own")


def _in_fresh_process(models: Sequence[Path], seconds: float, timeout: float = math.inf, **more: Any) -> Json:
    size = sum(path.stat().st_size for path in models)
    Room.of("llama.cpp", torch.device("cpu"), 0, size + _BUFFERS)
    job = {"models": [str(path.resolve()) for path in models], "seconds": seconds, "threads": torch.get_num_threads()}
    return _run(job | {"length": _LENGTH, "phases": ["prefill", "decode"]} | more, timeout)


def _run(job: Json, timeout: float = math.inf, script: str = "llama.py") -> Json:
    """Return the findings of ``script``, or its ``failure``."""
    limit = timeout if timeout < math.inf else None
    shared = [job["whole"]] if job.get("whole") is not None else []
    path = str(Path(__file__).with_name(script))
    try:
        return run_python("-P", path, json.dumps(job), timeout=limit, pass_fds=shared)
    except Failed as failed:
        return {"failure": _reason(failed.log)}


def _reason(log: str) -> str:
    """Why llama.cpp, or the script, failed: the first error in its log, or else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    loading = [line.split("error loading model: ")[1] for line in lines if "error loading model: " in line]
    return [*loading, *(line for line in lines if "GGML_ASSERT" in line), *reversed(lines)][0]
