"""How fast a model runs, and how much memory it takes.

The model runs as transformers generates with it, without what makes searches faster here: with a cache that grows,
logits of the last token alone, its own attention, and not compiled.
"""

from __future__ import annotations

import inspect
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import torch
from transformers import DynamicCache

from problems.language_model.model.attention import NAME as BLOCKED_ATTENTION
from problems.language_model.model.blocks import attentions_numbered

Phase = Literal["decode", "prefill"]


@dataclass(frozen=True)
class Load:
    """What a pass processes: ``batch`` sequences at once.

    ``prefill``: ``length`` tokens of each, from the start. ``decode``: one token of each, after ``length`` others whose
    keys and values are kept.
    """

    phase: Phase
    batch: int = 1
    length: int = 512

    @property
    def tokens(self) -> int:
        """How many tokens a pass processes."""
        return self.batch * (self.length if self.phase == "prefill" else 1)

    def __str__(self) -> str:
        """What milliseconds are of, such as ``a token (decode, batch 1, 512 tokens before)``."""
        if self.phase == "decode":
            return f"a token (decode, batch {self.batch}, {self.length} tokens before)"
        return f"a prompt (prefill, batch {self.batch}, {self.length} tokens)"

    @property
    def positions(self) -> int:
        """How many positions the model must have."""
        return self.length + (self.phase == "decode")


@dataclass(frozen=True)
class Speed:
    """Medians of passes over ``batch`` sequences of ``length`` tokens.

    ``prefill_ms``: milliseconds for all ``length`` tokens of each at once. ``decode_ms``: for one more token of each.
    Tokens a second count those of all sequences. ``peak_bytes``: of a CUDA device, the most that tensors took
    meanwhile; else the most memory that this process ever had.
    """

    prefill_ms: float
    decode_ms: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    peak_bytes: int


def speed(model: Any, batch: int = 1, length: int = 512, seconds: float = 2.0) -> Speed:
    """Time ``model`` as it is now, each phase for about ``seconds`` after a pass that warms it up.

    Raises ValueError if the model has too few positions.
    """
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    loads = (Load("prefill", batch, length), Load("decode", batch, length))
    times = [median(timings(timer(model, load), seconds)) for load in loads]
    prefill, decode = (1000 * load.tokens / one for load, one in zip(loads, times, strict=True))
    return Speed(times[0], times[1], prefill, decode, _peak_bytes(model.device))


def timings(run: Callable[[], float], seconds: float) -> list[float]:
    """What ``run`` returns, called for about ``seconds`` and at least three times, after a call that warms up."""
    run()
    end, times = time.perf_counter() + seconds, [run() for _ in range(3)]
    while time.perf_counter() < end:
        times.append(run())
    return times


@torch.inference_mode()
def timer(model: Any, load: Load) -> Callable[[], float]:
    """A function that runs one pass of ``load`` and returns its milliseconds; only for ``model`` as it is now.

    Raises ValueError if the model has too few positions.
    """
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if longest and load.positions > longest:
        raise ValueError(f"{load.phase} needs {load.positions} positions, the model has {longest}")
    tokens = torch.arange(load.length, device=model.device).repeat(load.batch, 1)
    tokens %= model.get_input_embeddings().num_embeddings
    known = inspect.signature(model.forward).parameters
    name = "cache" if "cache" in known else "past_key_values"  # its older name
    last = {"logits_to_keep": 1} if "logits_to_keep" in known else {}

    def forward(new: torch.Tensor, cache: DynamicCache) -> None:
        model(input_ids=new, use_cache=True, **{name: cache}, **last)

    @torch.inference_mode()
    def prefill() -> float:
        with _as_generating(model):
            return _timed(model.device, lambda: forward(tokens, DynamicCache()))

    if load.phase == "prefill":
        return prefill
    filled = DynamicCache()
    with _as_generating(model):
        forward(tokens, filled)

    @torch.inference_mode()
    def decode() -> float:
        with _as_generating(model):
            milliseconds = _timed(model.device, lambda: forward(tokens[:, :1], filled))
        filled.crop(-1)  # the token that was added
        return milliseconds

    return decode


@contextmanager
def _as_generating(model: Any) -> Iterator[None]:
    """Let ``model`` run as transformers would run it."""
    with ExitStack() as stack:
        stack.enter_context(attentions_numbered(model))
        if model.config._attn_implementation == BLOCKED_ATTENTION:
            model.set_attn_implementation("sdpa")
            stack.callback(model.set_attn_implementation, BLOCKED_ATTENTION)
        if any("forward" in vars(module) for module in model.modules()):  # compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def _timed(device: torch.device, work: Callable[[], None]) -> float:
    """The milliseconds that ``work`` takes."""
    _finish(device)
    start = time.perf_counter()
    work()
    _finish(device)
    return 1000 * (time.perf_counter() - start)


def _finish(device: torch.device) -> None:
    """Wait until all work that was given to ``device`` is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
