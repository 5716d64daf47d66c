"""Tasks of lm-evaluation-harness (Gao et al., 2021), an optional dependency."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch

from evoprune import InputError


def run_tasks(
    model: torch.nn.Module, tokenizer: Any, names: Sequence[str], include_path: str | None, limit: int | None,
    begin: bool = False,
) -> dict[str, float]:  # fmt: skip
    """Return the metrics of the tasks ``names``, from ``task metric`` to value.

    ``include_path``: a folder with additional task files. ``limit``: examples of each task, None for all. ``begin``:
    texts begin with the tokenizer's first token.
    """
    try:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise InputError(f"needs lm-evaluation-harness; pip install 'evoprune[lm_eval]' ({error})", "--tasks") from None
    try:
        manager = TaskManager(include_path=include_path)
        unknown = [name for name in names if name not in manager.all_tasks]
        if unknown:
            raise InputError(f"lm-evaluation-harness has no {', '.join(unknown)}; see 'lm_eval ls tasks'", "--tasks")
        harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, add_bos_token=begin)
        found = lm_eval.simple_evaluate(
            harness, tasks=list(names), task_manager=manager, limit=limit, bootstrap_iters=0, log_samples=False
        )
    except InputError:
        raise
    except Exception as error:  # task files and data sets raise many kinds of errors
        raise InputError(f"lm-evaluation-harness: {type(error).__name__}: {error}", "--tasks") from None
    return {
        f"{task} {metric.removesuffix(',none')}": float(value)
        for task, metrics in found["results"].items()
        for metric, value in metrics.items()
        if isinstance(value, Real) and "stderr" not in metric and metric != "sample_len"
    }
