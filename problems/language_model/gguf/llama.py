"""A script that runs .gguf files in llama.cpp, and prints its findings as JSON: ``python llama.py JOB``.

JOB is JSON:

- to measure: ``models`` (files), ``threads``, ``length`` (tokens of a prompt, at most), ``phases`` (prefill, decode; or
  none) and ``seconds`` (of speeds, in turn, for one round at least);
- to score the one model too: ``inputs``, an .npz file with ``tokens`` ``(windows, window)``, the complement of tokens
  that are not scored, :attr:`Divergence.top_predictions` of the dense model, optionally of the model in PyTorch, with
  the prefix ``run_``, and ``variants``, rows of tokens with answers; ``prediction_file``: the descriptor of a
  :class:`PredictionFile` that replaces the dense model's top predictions except ``loss``; ``text``, a file that begins
  with the tokens; ``begin``: true if each window begins with a token outside the text;
- to score texts of characters, for any tokenizer: ``file``, ``threads`` and ``pieces``, a JSON file of pairs;
- to count memory: ``file``, the size of a ``context`` in tokens, and ``kv``, the type of the cache.

It imports nothing of evoprune, so that memory is that of llama.cpp, of Python and of numpy.
"""

import json
import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib
from numpy.typing import NDArray

Json = dict[str, Any]
Floats = NDArray[np.float64]
FFI, LIB = get_ffi(), get_lib()

_GENERATED = 16  # tokens that are generated in one round
_WARM = 64  # tokens of the prompt that warm a model up before it is timed
_ROWS = 128  # tokens whose logits are in memory at a time
_LETTERS = 24  # of a text for each token: more than a token has
_ERROR = 4  # the level of errors in llama.cpp's log

_CACHE = re.compile(r": size =\s+([\d.]+) MiB \(")  # lines of llama.cpp's log on the memory of a context
_BUFFER = re.compile(r"(?:compute|output) buffer size =\s+([\d.]+) MiB")

_KV = {"f16": 1, "q8_0": 8}  # ggml's numbers of types
_log_lines: list[str] = []  # of llama.cpp


@FFI.callback("ggml_log_callback")  # type: ignore[untyped-decorator]
def _log(level: int, text: Any, _: Any) -> None:
    _log_lines.append(FFI.string(text).decode(errors="replace"))
    if level == _ERROR:
        sys.stderr.write(_log_lines[-1])


class Llama:
    """A model in llama.cpp, and a context for one sequence."""

    def __init__(self, path: str, threads: int) -> None:
        """Raises RuntimeError if llama.cpp does not load it."""
        self._context: Any = None
        LIB.llama_log_set(_log, FFI.NULL)
        LIB.llama_backend_init()
        start = time.perf_counter()
        self._model = LIB.llama_model_load_from_file(path.encode(), LIB.llama_model_default_params())
        if not self._model:
            raise RuntimeError("llama.cpp does not load it")
        self.load_seconds = time.perf_counter() - start
        self._vocabulary = LIB.llama_model_get_vocab(self._model)
        self.width: int = LIB.llama_vocab_n_tokens(self._vocabulary)
        self.positions: int = LIB.llama_model_n_ctx_train(self._model)
        self._threads = threads

    def __del__(self) -> None:
        self.close_context()
        if self._model:
            LIB.llama_model_free(self._model)

    def open_context(self, length: int) -> None:
        """Allocate a context for at most ``length`` tokens. Raises RuntimeError if memory does not suffice."""
        self.close_context()
        params = LIB.llama_context_default_params()
        params.n_ctx = params.n_batch = length
        params.n_threads = params.n_threads_batch = self._threads
        self._context = LIB.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError("llama.cpp has no room for a sequence")

    def close_context(self) -> None:
        """Free the context."""
        if self._context:
            LIB.llama_free(self._context)
        self._context = None

    def truncate(self, length: int) -> None:
        """Remove all tokens after the first ``length`` from the cache."""
        LIB.llama_memory_seq_rm(LIB.llama_get_memory(self._context), -1, length, -1)

    def decode(self, tokens: NDArray[np.int32], first: int, every: bool = False) -> NDArray[np.float32]:
        """Decode ``tokens`` after ``first`` others, and return the logits ``(1, vocabulary)`` of the last one.

        ``every``: of all tokens, ``(tokens, vocabulary)``. Valid until the next call. Raises RuntimeError.
        """
        batch = LIB.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for place, token in enumerate(tokens.tolist()):
                batch.token[place], batch.pos[place] = token, first + place
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
                batch.logits[place] = every or place == len(tokens) - 1
            if LIB.llama_decode(self._context, batch):
                raise RuntimeError("llama.cpp cannot run it")
        finally:
            LIB.llama_batch_free(batch)
        rows = len(tokens) if every else 1
        logits = FFI.buffer(LIB.llama_get_logits(self._context), rows * self.width * 4)
        return np.frombuffer(logits, dtype=np.float32).reshape(rows, self.width)

    def tokenise(self, text: str, begin: bool = False) -> NDArray[np.int32]:
        """Return the tokens of ``text``; ``begin``: with the tokens that the tokenizer adds before it by default."""
        encoded = text.encode()
        tokens = np.empty(len(encoded) + 3, dtype=np.int32)
        room = FFI.from_buffer("llama_token[]", tokens)
        count = LIB.llama_tokenize(self._vocabulary, encoded, len(encoded), room, len(tokens), begin, True)
        return tokens[: max(0, count)]


def _predictions_of(model: Llama, tokens: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.float32], Any]]:
    """Yield the index of a row of ``tokens``, log-probabilities ``(some, vocabulary)`` and the predicted tokens.

    Only scored tokens are predicted, some at a time; a row is decoded up to its last one.
    """
    model.open_context(tokens.shape[1])
    for number, (row, counts) in enumerate(zip((tokens ^ (tokens >> 63)).astype(np.int32), tokens >= 0, strict=True)):
        model.truncate(0)
        last = int(np.flatnonzero(counts).max(initial=0))
        for first in range(0, last, _ROWS):
            logits = model.decode(row[first : min(first + _ROWS, last)], first, every=True)
            following = slice(first + 1, first + 1 + len(logits))
            scored = counts[following]
            yield number, _log_softmax(logits[scored]), row[following][scored]


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the log-probabilities of rows of ``logits``."""
    shifted: NDArray[np.float32] = logits - logits.max(1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(1, keepdims=True))
    return shifted


def answers(model: Llama, tokens: NDArray[np.int64]) -> Json:
    """Return ``answers``: for each row of ``tokens`` its loss in nats, and True if every token is the likeliest one."""
    rows: list[Any] = [[0.0, True] for _ in tokens]
    for number, log_q, targets in _predictions_of(model, tokens):
        rows[number][0] -= float(log_q[np.arange(len(log_q)), targets].sum(dtype=np.float64))
        rows[number][1] &= bool((log_q.argmax(1) == targets).all())
    return {"answers": rows}


def piece_losses(model: Llama, pieces: list[list[str]]) -> list[float]:
    """Return the loss, in nats, of each text after its context; ``pieces``: pairs of both, which share no token."""
    losses: list[float] = []
    for context, text in pieces:
        head, row = (model.tokenise(part, begin=True).astype(np.int64) for part in (context, context + text))
        if not np.array_equal(row[: len(head)], head):
            row = np.concatenate([head, model.tokenise(text)])
        row[: len(head)] ^= -1
        losses.append(answers(model, row[None])["answers"][0][0])
    return losses


def _divergences_from_top(
    inputs: Any, prefix: str, rows: slice, log_q: NDArray[np.float32]
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the divergences of ``log_q`` from the top predictions with the ``prefix``; and their likeliest tokens."""
    log_p, rest_p = (inputs[f"{prefix}{name}"][rows].astype(np.float64) for name in ("log_p", "rest"))
    top = inputs[f"{prefix}top"][rows].astype(np.int64)
    chosen = np.take_along_axis(log_q, top, 1).astype(np.float64)
    rest_q = np.log(np.maximum(1 - np.exp(chosen).sum(1), 1e-9))
    divergences = (np.exp(log_p) * (log_p - chosen)).sum(1) + np.exp(rest_p) * (rest_p - rest_q)
    return divergences, np.take_along_axis(top, log_p.argmax(1, keepdims=True), 1)[:, 0]


def _divergences_from_file(file: int, rows: slice, log_q: NDArray[np.float32]) -> tuple[Floats, NDArray[np.int64]]:
    """As :func:`_divergences_from_top`, from a :class:`PredictionFile`."""
    row = 2 * log_q.shape[1]
    read = np.frombuffer(os.pread(file, len(log_q) * row, rows.start * row), np.float16)
    log_p = _log_softmax(read.reshape(log_q.shape).astype(np.float32))
    return (np.exp(log_p) * (log_p - log_q)).sum(1, dtype=np.float64), log_p.argmax(1)


def score(model: Llama, inputs: Any, prediction_file: int | None = None) -> Json:
    """For each predicted token return ``losses``, ``divergences`` from the dense model, and ``same`` likeliest token.

    ``between``: divergences from the same model in PyTorch, if ``inputs`` hold its predictions.
    """
    compared = partial(_divergences_from_top, inputs, "")
    if prediction_file is not None:
        compared = partial(_divergences_from_file, prediction_file)
        count = np.count_nonzero(inputs["tokens"][:, 1:] >= 0)
        if (width := os.fstat(prediction_file).st_size // 2 // count) != model.width:
            raise RuntimeError(f"has a vocabulary of {model.width:,} tokens: expected the source's {width:,}")
    result: dict[str, list[Any]] = {name: [] for name in ("losses", "divergences", "same", "between")}
    for _, log_q, targets in _predictions_of(model, inputs["tokens"]):
        rows = slice(begin := len(result["losses"]), begin + len(log_q))
        divergences, likeliest = compared(rows, log_q)
        result["losses"] += (-log_q[np.arange(len(log_q)), targets]).astype(float).tolist()
        result["divergences"] += divergences.tolist()
        result["same"] += (log_q.argmax(1) == likeliest).tolist()
        if "run_loss" in inputs:
            result["between"] += _divergences_from_top(inputs, "run_", rows, log_q)[0].tolist()
    return result


def speeds(models: list[Llama], length: int, seconds: float, phases: list[str]) -> Json:
    """Return the tokens/s of a prompt of ``length`` tokens, and of tokens after it: medians, timed in turn.

    Without ``phases`` the prompt is decoded once, to measure its memory.
    """
    after = _GENERATED if "decode" in phases else 0
    length = min(length, *(model.positions - after for model in models))
    prompt = np.arange(length, dtype=np.int32) % min(model.width for model in models)
    for model in models:
        model.open_context(length + after)
        model.decode(prompt[:_WARM] if "prefill" in phases else prompt, 0)  # a prefill reads it before it is continued
    rounds: list[list[list[float]]] = []
    end = time.perf_counter() + seconds
    while phases and (not rounds or time.perf_counter() < end):
        rounds.append([[_seconds(model, prompt, phase) for phase in phases] for model in models])
    result: Json = {"length": length, "peak_bytes": peak_bytes()}
    if phases:
        medians = np.median(rounds, axis=0).T  # (phases, models)
        result |= {phase: (1 / seconds).tolist() for phase, seconds in zip(phases, medians, strict=True)}
    return result


def peak_bytes() -> int:
    """Return the peak memory of this process; on Linux getrusage would count the parent's memory, too."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _seconds(model: Llama, prompt: NDArray[np.int32], phase: str) -> float:
    """Return the seconds per token of the prompt, or of tokens generated after it."""
    model.truncate(0 if phase == "prefill" else len(prompt))
    start = time.perf_counter()
    if phase == "prefill":
        model.decode(prompt, 0)
        return (time.perf_counter() - start) / len(prompt)
    for place in range(_GENERATED):
        model.decode(prompt[:1], len(prompt) + place)
    return (time.perf_counter() - start) / _GENERATED


def memory(file: str, context: int, kv: str) -> Json:
    """Return the memory of a file with a ``context`` of so many tokens, in bytes, by a dry load that allocates none.

    ``weights``; ``cache``, keys and values in the type ``kv``; ``buffers`` of computations; and ``process``, the
    vocabulary and the like. Raises RuntimeError.
    """
    LIB.llama_log_set(_log, FFI.NULL)
    LIB.llama_backend_init()
    before = peak_bytes()
    params, settings = LIB.llama_model_default_params(), LIB.llama_context_default_params()
    params.no_alloc, params.load_mode = True, 0
    settings.n_ctx, settings.type_k, settings.type_v = context, _KV[kv], _KV[kv]
    model = LIB.llama_model_load_from_file(file.encode(), params)
    if not model or not LIB.llama_init_from_model(model, settings):
        raise RuntimeError("".join(_log_lines))
    log = "".join(_log_lines)
    cache, buffers = (sum(map(float, pattern.findall(log))) for pattern in (_CACHE, _BUFFER))
    result = {"weights": LIB.llama_model_size(model), "process": peak_bytes() - before}
    return result | {"cache": round(cache * 2**20), "buffers": round(buffers * 2**20)}


def main(job: Json) -> Json:
    """Do ``job``, and return the findings."""
    if "context" in job:
        return memory(job["file"], job["context"], job["kv"])
    if "pieces" in job:
        pieces = json.loads(Path(job["pieces"]).read_bytes())
        return {"losses": piece_losses(Llama(job["file"], job["threads"]), pieces)}
    models = [Llama(path, job["threads"]) for path in job["models"]]
    result = speeds(models, job["length"], job["seconds"], job["phases"])
    result["load_seconds"] = [round(model.load_seconds, 3) for model in models]
    if "inputs" in job:
        inputs = dict(np.load(job["inputs"]))
        result |= score(models[0], inputs, job.get("prediction_file"))
        text = Path(job["text"]).read_bytes().decode()  # with carriage returns as they are
        result["tokens"] = models[0].tokenise(text[: _LETTERS * inputs["tokens"].size], job["begin"]).tolist()
        result |= answers(models[0], inputs["variants"]) if "variants" in inputs else {}
    return result


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
