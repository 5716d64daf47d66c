"""Where an evaluation's time goes, by torch.profiler."""

from __future__ import annotations

import time
from random import Random
from typing import Any

from torch.profiler import ProfilerActivity, profile

from problems.language_model.problem import Pruning
from problems.language_model.settings import PruningSettings
from tests.benchmarks.candidates import unrelated

_KINDS = {
    "matrix products": {"aten::mm", "aten::addmm", "aten::linear", "aten::matmul", "mkldnn::_linear_pointwise"},
    "attention products": {"aten::bmm", "aten::_scaled_dot_product_flash_attention_for_cpu"},
    "attention softmax and mask": {"aten::_softmax", "aten::softmax", "aten::masked_fill_"},
    "loss": {"aten::_log_softmax", "aten::nll_loss_forward", "aten::cross_entropy_loss"},
    "copies and conversions": {"aten::copy_", "aten::cat", "aten::clone", "aten::contiguous"},
}


def breakdown(settings: PruningSettings) -> dict[str, Any]:
    """Seconds of an unrelated candidate by kind; ``python and the rest`` is what no operation accounts for."""
    problem = Pruning(settings)
    rng = Random(0)
    genomes = [unrelated(rng, len(problem.genes), settings.sparsity) for _ in range(4)]
    problem.evaluate(genomes[0])
    start = time.perf_counter()
    problem.session.transform.apply(genomes[1])
    masks = time.perf_counter() - start
    problem.session.fitness._states.clear()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        problem.evaluate(genomes[1])
        wall = time.perf_counter() - start
    seconds = dict.fromkeys([*_KINDS, "elementwise and norms"], 0.0)
    operations = {}
    for event in profiler.key_averages():
        kind = next((kind for kind, names in _KINDS.items() if event.key in names), "elementwise and norms")
        seconds[kind] += event.self_cpu_time_total / 1e6
        operations[event.key] = event.self_cpu_time_total / 1e6
    return {
        "masks": masks,
        **seconds,
        "python and the rest": max(0.0, wall - sum(seconds.values())),
        "whole": wall + masks,
        "largest_operations": dict(sorted(operations.items(), key=lambda item: -item[1])[:12]),
    }
