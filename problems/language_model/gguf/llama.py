"""A script that runs .gguf files in llama.cpp, and prints its findings as JSON: ``python llama.py JOB``.

JOB is JSON:

- to measure: ``models`` (files), ``threads``, ``length`` (tokens of a prompt, at most), ``phases`` (prefill, decode; or
  none) and ``seconds`` (of speeds, in turn, for one round at least);
- to score the one model too: ``known``, an .npz file with ``tokens`` ``(windows, window)``, the complement where a
  token does not count, the dense model's :attr:`Divergence.known` for tokens that count, maybe the same of the model in
  PyTorch, with the prefix ``run_``, and ``variants``, rows of tokens with answers; ``whole``: the descriptor of a
  :class:`PredictionFile`, in place of all in :attr:`Divergence.known` but ``loss``; ``text``, a file that begins with
  the tokens; ``begin``: whether each window begins with a token outside the text;
- to count memory: ``file``, ``context``, the tokens that it has room for, and ``kv``, the type of their cache.

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
_WARM = 64  # tokens of the prompt that a model reads before it is timed
_ROWS = 128  # tokens whose logits are held at a time
_LETTERS = 24  # more letters of a text than a token has
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
    """A model in llama.cpp, and one sequence that it reads."""

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
        self.end()
        if self._model:
            LIB.llama_model_free(self._model)

    def begin(self, length: int) -> None:
        """Make room for a sequence of ``length`` tokens, at most. Raises RuntimeError if there is none."""
        self.end()
        params = LIB.llama_context_default_params()
        params.n_ctx = params.n_batch = length
        params.n_threads = params.n_threads_batch = self._threads
        self._context = LIB.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError("llama.cpp has no room for a sequence")

    def end(self) -> None:
        """Forget the sequence and its room."""
        if self._context:
            LIB.llama_free(self._context)
        self._context = None

    def cut(self, length: int) -> None:
        """Forget all tokens but the first ``length``."""
        LIB.llama_memory_seq_rm(LIB.llama_get_memory(self._context), -1, length, -1)

    def read(self, tokens: NDArray[np.int32], first: int, every: bool = False) -> NDArray[np.float32]:
        """Read ``tokens`` after ``first`` others: the logits ``(1, vocabulary)`` of the last one.

        ``every``: of all, ``(tokens, vocabulary)``. They are valid until the next call. Raises RuntimeError.
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
        """The tokens of ``text``; ``begin``: after the tokens that the model's tokenizer adds by default."""
        encoded = text.encode()
        tokens = np.empty(len(encoded) + 3, dtype=np.int32)
        room = FFI.from_buffer("llama_token[]", tokens)
        count = LIB.llama_tokenize(self._vocabulary, encoded, len(encoded), room, len(tokens), begin, True)
        return tokens[: max(0, count)]


def _predictions_of(model: Llama, tokens: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.float32], Any]]:
    """Yield the number of a row of ``tokens``, log-probabilities ``(some, vocabulary)`` and the tokens that follow.

    Of the tokens that count, some at a time; a row is read up to the last one.
    """
    model.begin(tokens.shape[1])
    for number, (row, counts) in enumerate(zip((tokens ^ (tokens >> 63)).astype(np.int32), tokens >= 0, strict=True)):
        model.cut(0)
        last = int(np.flatnonzero(counts).max(initial=0))
        for first in range(0, last, _ROWS):
            logits = model.read(row[first : min(first + _ROWS, last)], first, every=True)
            following = slice(first + 1, first + 1 + len(logits))
            scored = counts[following]
            yield number, _log_softmax(logits[scored]), row[following][scored]


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-probabilities of rows of ``logits``."""
    shifted: NDArray[np.float32] = logits - logits.max(1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(1, keepdims=True))
    return shifted


def answers(model: Llama, tokens: NDArray[np.int64]) -> Json:
    """``answers`` of the rows of ``tokens``: the loss in nats, and whether each token is the likeliest one."""
    found: list[Any] = [[0.0, True] for _ in tokens]
    for number, log_q, targets in _predictions_of(model, tokens):
        found[number][0] -= float(log_q[np.arange(len(log_q)), targets].sum(dtype=np.float64))
        found[number][1] &= bool((log_q.argmax(1) == targets).all())
    return {"answers": found}


def _from_known(known: Any, of: str, rows: slice, log_q: NDArray[np.float32]) -> tuple[Floats, NDArray[np.int64]]:
    """Return divergences of ``log_q`` from :attr:`Divergence.known` of the prefix ``of``; and its likeliest tokens."""
    log_p, rest_p = (known[f"{of}{name}"][rows].astype(np.float64) for name in ("log_p", "rest"))
    top = known[f"{of}top"][rows].astype(np.int64)
    chosen = np.take_along_axis(log_q, top, 1).astype(np.float64)
    rest_q = np.log(np.maximum(1 - np.exp(chosen).sum(1), 1e-9))
    divergences = (np.exp(log_p) * (log_p - chosen)).sum(1) + np.exp(rest_p) * (rest_p - rest_q)
    return divergences, np.take_along_axis(top, log_p.argmax(1, keepdims=True), 1)[:, 0]


def _from_whole(file: int, rows: slice, log_q: NDArray[np.float32]) -> tuple[Floats, NDArray[np.int64]]:
    """As :func:`_from_known`, from a :class:`PredictionFile`."""
    row = 2 * log_q.shape[1]
    read = np.frombuffer(os.pread(file, len(log_q) * row, rows.start * row), np.float16)
    log_p = _log_softmax(read.reshape(log_q.shape).astype(np.float32))
    return (np.exp(log_p) * (log_p - log_q)).sum(1, dtype=np.float64), log_p.argmax(1)


def score(model: Llama, known: Any, whole: int | None = None) -> Json:
    """Of each predicted token: ``losses``, ``divergences`` from the dense model, ``same`` likeliest token.

    ``between``: divergences from the same model in PyTorch, where its predictions are ``known``.
    """
    count = np.count_nonzero(known["tokens"][:, 1:] >= 0)
    if whole is not None and (width := os.fstat(whole).st_size // 2 // count) != model.width:
        raise RuntimeError(f"has a vocabulary of {model.width:,} tokens: expected the source's {width:,}")
    compared = partial(_from_known, known, "") if whole is None else partial(_from_whole, whole)
    found: dict[str, list[Any]] = {name: [] for name in ("losses", "divergences", "same", "between")}
    for _, log_q, targets in _predictions_of(model, known["tokens"]):
        rows = slice(begin := len(found["losses"]), begin + len(log_q))
        divergences, likeliest = compared(rows, log_q)
        found["losses"] += (-log_q[np.arange(len(log_q)), targets]).astype(float).tolist()
        found["divergences"] += divergences.tolist()
        found["same"] += (log_q.argmax(1) == likeliest).tolist()
        if "run_loss" in known:
            found["between"] += _from_known(known, "run_", rows, log_q)[0].tolist()
    return found


def speeds(models: list[Llama], length: int, seconds: float, phases: list[str]) -> Json:
    """Tokens a second of a prompt of ``length`` tokens, and of tokens after it; medians, timed in turn.

    Without ``phases`` the prompt is read once, for the memory that it takes.
    """
    after = _GENERATED if "decode" in phases else 0
    length = min(length, *(model.positions - after for model in models))
    prompt = np.arange(length, dtype=np.int32) % min(model.width for model in models)
    for model in models:
        model.begin(length + after)
        model.read(prompt[:_WARM] if "prefill" in phases else prompt, 0)  # a prefill reads it before it is continued
    rounds: list[list[list[float]]] = []
    end = time.perf_counter() + seconds
    while phases and (not rounds or time.perf_counter() < end):
        rounds.append([[_seconds(model, prompt, phase) for phase in phases] for model in models])
    found: Json = {"length": length, "peak_bytes": peak_bytes()}
    if phases:
        medians = np.median(rounds, axis=0).T  # (phases, models)
        found |= {phase: (1 / seconds).tolist() for phase, seconds in zip(phases, medians, strict=True)}
    return found


def peak_bytes() -> int:
    """The most memory that this process had; on Linux getrusage would count the parent's memory, too."""
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _seconds(model: Llama, prompt: NDArray[np.int32], phase: str) -> float:
    """Seconds of a token in the prompt, or of one that is generated after it."""
    model.cut(0 if phase == "prefill" else len(prompt))
    start = time.perf_counter()
    if phase == "prefill":
        model.read(prompt, 0)
        return (time.perf_counter() - start) / len(prompt)
    for place in range(_GENERATED):
        model.read(prompt[:1], len(prompt) + place)
    return (time.perf_counter() - start) / _GENERATED


def memory(file: str, context: int, kv: str) -> Json:
    """Bytes that a file takes with a ``context`` of so many tokens, by a dry load, which takes none.

    ``weights``; ``cache``, of keys and values in the type ``kv``; ``buffers``, of computations; and ``process``,
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
    found = {"weights": LIB.llama_model_size(model), "process": peak_bytes() - before}
    return found | {"cache": round(cache * 2**20), "buffers": round(buffers * 2**20)}


def main(job: Json) -> Json:
    """Do ``job``, and return the findings."""
    if "context" in job:
        return memory(job["file"], job["context"], job["kv"])
    models = [Llama(path, job["threads"]) for path in job["models"]]
    found = speeds(models, job["length"], job["seconds"], job["phases"])
    found["load_seconds"] = [round(model.load_seconds, 3) for model in models]
    if "known" in job:
        known = dict(np.load(job["known"]))
        found |= score(models[0], known, job.get("whole"))
        text = Path(job["text"]).read_bytes().decode()  # with carriage returns as they are
        found["tokens"] = models[0].tokenise(text[: _LETTERS * known["tokens"].size], job["begin"]).tolist()
        found |= answers(models[0], known["variants"]) if "variants" in known else {}
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
