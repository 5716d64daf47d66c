"""Runs .gguf files in llama.cpp: each in a new process, which imports nothing of evoprune."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType
from numpy.typing import NDArray
from torch import Tensor

from evoprune import InputError, Stopped
from evoprune.plugins import note
from evoprune.problems.language_model.gguf.base import Base
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.device import ProcessFailed, processor_name, run_python
from evoprune.problems.language_model.models.memory import Placement
from evoprune.problems.language_model.models.throughput import Load

_LENGTH = 512  # tokens of a prompt, if the model has as many positions
_SECONDS = 4.0  # of timing both models in turn, in all processes together
_BUFFERS = 2**29  # bytes of activations, logits and keys of a prompt, about
_PROCESSES = 3  # that time both models: with the same file, one process may be a third slower than another

Json = dict[str, Any]
Floats = NDArray[np.float64]


def measure_file(
    path: Path, text: str, tokens: torch.Tensor, begin: bool, dense: Mapping[str, torch.Tensor], memory: bool = True,
    run: Mapping[str, torch.Tensor] | None = None, variants: torch.Tensor | None = None, timeout: float = math.inf,
    prediction_file: int | None = None,
) -> Json:  # fmt: skip
    """Measure the file ``path`` on ``tokens`` ``(windows, window)``: ``perplexity``, and ``divergence`` from ``dense``.

    Arguments: ``text`` of the tokens; ``begin``: True if each window begins with a token outside the text; ``dense``:
    :attr:`evoprune.problems.language_model.evaluation.measure.Divergence.top_predictions` of the dense model, and
    ``run``: of the file's model in PyTorch; ``memory``: decode a whole prompt, to measure the peak; ``variants``: rows
    of tokens for :func:`evoprune.problems.language_model.gguf.llama.answers`; ``timeout``, in seconds;
    ``prediction_file``: the descriptor of a
    :class:`evoprune.problems.language_model.gguf.export.against.PredictionFile`, so that ``dense`` needs only
    its losses.

    Also returns ``predictions``, the keys of :class:`.gguf.export.facts.Predictions`, or
    None if some are infinite; ``load_seconds`` and ``peak_bytes``; ``first_other_token``, the first one that
    llama.cpp's tokenizer reads differently from transformers', or None; with ``run`` the mean ``runtime_divergence``,
    ``runtime_error`` and ``loss_error``, the standard error of the mean difference of losses; or only ``failure``, the
    reason, with infinite perplexity and divergence.
    """
    with tempfile.TemporaryDirectory() as scratch:
        inputs, words = Path(scratch) / "inputs.npz", Path(scratch) / "text.txt"
        words.write_text(text, encoding="utf-8", newline="")
        tensors = {**dense, "tokens": tokens} | {f"run_{name}": tensor for name, tensor in (run or {}).items()}
        tensors |= {} if variants is None else {"variants": variants}
        np.savez(inputs, allow_pickle=False, **{name: tensor.numpy() for name, tensor in tensors.items()})
        _note_running([path])
        job: Json = {"inputs": str(inputs), "text": str(words), "begin": begin, "prediction_file": prediction_file}
        result = _in_fresh_process([path], 0.0, timeout, phases=[], length=_LENGTH if memory else 1, **job)
    if "failure" in result:
        lost = dict.fromkeys(("perplexity", "divergence"), math.inf)
        return lost | {"predictions": None, "failure": f"was not run: {result['failure']}"}
    names = ("losses", "divergences", "same", "between")
    losses, divergences, same, between = (np.array(result.pop(name)) for name in names)
    scores = _scores(losses, divergences, same, between, tensors)
    scores["first_other_token"] = _first_difference(np.array(result.pop("tokens")), tokens.numpy(), begin)
    scores |= {name: result[name] for name in ("peak_bytes", "answers") if name in result}
    return scores | {"load_seconds": result["load_seconds"][0]}


def _scores(losses: Floats, divergences: Floats, same: Floats, between: Floats, inputs: Mapping[str, Tensor]) -> Json:
    """Return means and errors of measurements that have one value per predicted token."""
    behind = losses - inputs["loss"].numpy()
    changes = np.exp(-losses) - np.exp(-inputs["loss"].numpy())
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
    return scores | runs | {"loss_error": _error(losses - inputs["run_loss"].numpy())}


def _error(values: Floats) -> float:
    """Return the standard error of the mean; 0 for a single value."""
    return float(values.std()) / math.sqrt(max(1, len(values) - 1))


def _first_difference(ours: NDArray[np.int64], tokens: NDArray[np.int64], begin: bool) -> int | None:
    """Return the first of ``tokens`` ``(windows, window)`` that llama.cpp's tokenizer reads differently, if any.

    ``ours``: llama.cpp's tokens of the text of all windows, or of the beginning of the first one. ``begin``: each
    window begins with a token that the tokenizer adds; it is expected, and counted, once.
    """
    read = tokens ^ (tokens >> 63)
    expected = np.concatenate([read[0, :1], read[:, 1:].flatten()]) if begin else read.flatten()
    ours = ours[: len(expected)]
    if len(ours) < len(expected):  # the text is of one window, which may have been cut
        ours = ours[: read.shape[1]]
    same = ours == expected[: len(ours)]
    return None if len(ours) and same.all() else int(np.append(same, False).argmin())


def compare_speeds(dense: Path, evolved: Path, *checks: Json, timeout: float = math.inf) -> Json | None:
    """Return the speeds of two files, timed in turn, their memory and load times; None without time or room for both.

    Keys as of :func:`evoprune.problems.language_model.export.runtime.benchmark`. ``checks``: the results of
    :func:`measure_file`, which did not fail; ``timeout``, in seconds.
    """
    files = dense, evolved
    _note_running(files)
    try:
        times = [_in_fresh_process(files, _SECONDS / _PROCESSES, timeout / _PROCESSES) for _ in range(_PROCESSES)]
        failed = [each["failure"] for each in times if "failure" in each]
    except Stopped as stopped:
        failed = [str(stopped)]
    if failed:
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


def latencies(models: Sequence[Path], load: Load, seconds: float, timeout: float = math.inf) -> list[float]:
    """Return the latencies, in ms, of a pass of ``load`` by each of ``models``, timed in turn for ``seconds``.

    Raises :class:`evoprune.InputError` if llama.cpp fails, or takes longer than ``timeout`` seconds.
    """
    result = _in_fresh_process(models, seconds, timeout, length=load.length, phases=[load.phase])
    if "failure" in result:
        raise InputError(f"llama.cpp cannot time it: {result['failure']}", "problem.budget")
    if result["length"] < load.length:
        raise InputError(f"llama.cpp has room for {result['length']} tokens of this model", "problem.budget.length")
    passed = load.length if load.phase == "prefill" else 1
    return [1000 * passed / speed for speed in result[load.phase]]


def seconds_a_token(path: Path, tokens: int = 128) -> float:
    """Return the seconds in which llama.cpp reads a token of ``path``, in a prompt of ``tokens``. Raises InputError."""
    try:
        (milliseconds,) = latencies([path], Load("prefill", length=tokens), 0.0)
    except InputError as error:  # which names a budget
        raise InputError(error.problems[0], str(path)) from None
    return milliseconds / tokens / 1000


def piece_losses(path: Path, pieces: Sequence[tuple[str, str]]) -> list[float]:
    """Return the losses of :func:`evoprune.problems.language_model.gguf.llama.piece_losses`. Raises InputError."""
    Placement.of("llama.cpp", torch.device("cpu"), 0, path.stat().st_size + _BUFFERS)
    with tempfile.TemporaryDirectory() as scratch:
        texts = Path(scratch) / "pieces.json"
        texts.write_text(json.dumps(pieces))
        result = _run({"file": str(path.resolve()), "pieces": str(texts), "threads": torch.get_num_threads()})
    if "failure" in result:
        raise InputError(f"llama.cpp cannot score it: {result['failure']}", str(path))
    return result["losses"]  # type: ignore[no-any-return]


def memory(path: Path, context: int, kv: str) -> Json:
    """Return the bytes of :func:`evoprune.problems.language_model.gguf.llama.memory` for the file ``path``.

    Raises :class:`evoprune.InputError` where it does not load.
    """
    result = _run({"file": str(path.resolve()), "context": context, "kv": kv})
    if "failure" in result:
        raise InputError(f"llama.cpp cannot load it: {result['failure']}", str(path))
    return result


def presets(model: Any, base: Base, importance: bool) -> dict[str, dict[str, str]]:
    """Return the type of each parameter that llama.cpp quantises, by the name of the preset, such as ``Q4_K_M``.

    ``model``: a dense one. ``importance``: True if there is an importance matrix, which changes some presets.
    """
    whole = contents(model, base, {})
    parameters = {spec.name: spec.parameter for spec in whole.layout.specs if spec.parameter}
    with tempfile.TemporaryDirectory() as scratch:
        outline = Path(scratch) / "outline.gguf"
        whole.write_outline(outline)
        result = _run({"file": str(outline), "importance": importance}, script="quantiser.py")
    if "failure" in result:
        raise InputError(f"llama.cpp does not say what its presets are: {result['failure']}")
    return {
        name: {parameters[tensor]: kind for tensor, kind in kinds.items() if tensor in parameters}
        for name, kinds in result.items()
    }


def quantise(
    source: Path, out: Path, preset: str, importance: Mapping[str, torch.Tensor], timeout: float = math.inf,
    others: Mapping[str, str] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Quantise ``source`` by llama.cpp's ``preset``; ``importance``: mean squared inputs by tensor.

    ``others``: types by tensor, in place of the preset's. Raises :class:`evoprune.InputError` if llama.cpp fails, or
    takes longer than ``timeout`` seconds.
    """
    with tempfile.TemporaryDirectory() as scratch:
        matrix = Path(scratch) / "importance.npz"
        np.savez(matrix, allow_pickle=False, **{name: each.numpy() for name, each in importance.items()})
        job: Json = {"file": str(source.resolve()), "out": str(out), "preset": preset, "importance": str(matrix)}
        job |= {"others": {tensor: int(GGMLQuantizationType[kind]) for tensor, kind in others.items()}}
        result = _run(job | {"threads": torch.get_num_threads()}, timeout, "quantiser.py")
    if "failure" in result:
        raise InputError(f"llama.cpp does not make {preset}: {result['failure']}", str(source))


def _note_running(models: Sequence[Path]) -> None:
    note(f"running {' and '.join(path.name for path in models)} in llama.cpp, in a process of its own")


def _in_fresh_process(models: Sequence[Path], seconds: float, timeout: float = math.inf, **more: Any) -> Json:
    size = sum(path.stat().st_size for path in models)
    Placement.of("llama.cpp", torch.device("cpu"), 0, size + _BUFFERS)
    job = {"models": [str(path.resolve()) for path in models], "seconds": seconds, "threads": torch.get_num_threads()}
    return _run(job | {"length": _LENGTH, "phases": ["prefill", "decode"]} | more, timeout)


def _run(job: Json, timeout: float = math.inf, script: str = "llama.py") -> Json:
    """Return the findings of ``script``, or its ``failure``."""
    shared = [job["prediction_file"]] if job.get("prediction_file") is not None else []
    path = str(Path(__file__).with_name(script))
    try:
        return run_python("-P", path, json.dumps(job), timeout=timeout, pass_fds=shared)
    except ProcessFailed as failed:
        return {"failure": _reason(failed.log)}


def _reason(log: str) -> str:
    """Return the reason of a failure: the first error in the log of llama.cpp or the script, or else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    loading = [line.split("error loading model: ")[1] for line in lines if "error loading model: " in line]
    return [*loading, *(line for line in lines if "GGML_ASSERT" in line), *reversed(lines)][0]
