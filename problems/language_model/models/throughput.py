"""Latency, throughput and memory of a model, run with a cache, as transformers generates with it."""

import inspect
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from transformers import DynamicCache

from evoprune.problems.language_model.models.blocks import attentions_numbered, max_positions
from evoprune.problems.language_model.models.device import function_of
from evoprune.problems.language_model.models.lazy_weights import execution_device

Phase = Literal["decode", "prefill"]


@dataclass(frozen=True)
class Load:
    """The work of one pass over ``batch`` sequences.

    ``prefill``: ``length`` tokens of each, from the start. ``decode``: one token of each, after ``length`` cached ones.
    """

    phase: Phase
    batch: int = 1
    length: int = 512

    @property
    def tokens(self) -> int:
        return self.batch * (self.length if self.phase == "prefill" else 1)

    def __str__(self) -> str:
        if self.phase == "decode":
            return f"a token (decode, batch {self.batch}, {self.length} tokens before)"
        return f"a prompt (prefill, batch {self.batch}, {self.length} tokens)"


def throughputs(models: Sequence[Any], load: Load, seconds: float) -> list[float]:
    """Return the median tokens/s of each of ``models``, timed in turn for ``seconds`` (0: once). Raises ValueError."""
    runs = [timer(model, load) for model in models]
    for run in runs:
        run()  # to warm up
    end = time.perf_counter() + seconds
    rounds: list[list[float]] = []
    while len(rounds) < (3 if seconds else 1) or time.perf_counter() < end:
        rounds.append([run() for run in runs])
    return [1000 * load.tokens / median(times) for times in zip(*rounds, strict=True)]


@torch.inference_mode()
def timer(model: Any, load: Load) -> Callable[[], float]:
    """Return a function that runs one pass of ``load`` on ``model`` as it is now and returns its milliseconds.

    Raises ValueError if the model has too few positions.
    """
    longest, needed = max_positions(model.config), load.length + (load.phase == "decode")
    if longest and needed > longest:
        raise ValueError(f"{load.phase} needs {needed} positions, the model has {longest}")
    device = execution_device(model)
    tokens = torch.arange(load.length, device=device).repeat(load.batch, 1)
    tokens %= model.get_input_embeddings().num_embeddings
    forward, filled, decodes = step_of(model), DynamicCache(), load.phase == "decode"
    if decodes:
        with attentions_numbered(model):
            forward(tokens, filled)

    @torch.inference_mode()
    def run() -> float:
        new, cache = (tokens[:, :1], filled) if decodes else (tokens, DynamicCache())
        with attentions_numbered(model):
            milliseconds = _timed(device, lambda: forward(new, cache))
        if decodes:
            filled.crop(-1)  # remove the new token
        return milliseconds

    return run


def step_of(model: Any) -> Callable[[torch.Tensor, DynamicCache], torch.Tensor]:
    """Return a function of new tokens and a cache that returns the logits of the last token."""
    parameters = inspect.signature(model.forward).parameters
    name = "cache" if "cache" in parameters else "past_key_values"  # its older name
    last = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
    return lambda new, cache: model(input_ids=new, use_cache=True, **{name: cache}, **last).logits[:, -1]


def _timed(device: torch.device, work: Callable[[], object]) -> float:
    finish = partial(torch.accelerator.synchronize, device) if device.type != "cpu" else lambda: None
    finish()
    start = time.perf_counter()
    work()
    finish()
    return 1000 * (time.perf_counter() - start)


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory of tensors on an accelerator that reports it, else of this process."""
    if peak := function_of(device, "max_memory_allocated"):
        return int(peak(device))
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
