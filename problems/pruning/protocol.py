"""What a perplexity means nothing without."""

from __future__ import annotations

from typing import Any

import torch

from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.model.device import device_of, dtype_of

PERPLEXITY = "exp of the mean next-token loss over non-overlapping windows, losses in float32, no special tokens added"


def of_run(evaluator: Evaluator) -> dict[str, Any]:
    """That of a run's result."""
    return of_pruned(evaluator) | {
        "objective": evaluator.settings.objective,
        "search_text": evaluator.search.protocol(),
        "held_out_text": evaluator.held_out.protocol() if evaluator.held_out else None,
        "report_text": evaluator.report.protocol(),
    }


def of_pruned(evaluator: Evaluator) -> dict[str, Any]:
    """What holds of a run's models on any text."""
    settings = evaluator.settings
    return {
        **of_model(settings.model, evaluator.model),
        "revision": settings.revision,
        "weights_sha256": evaluator.weights_sha256,
        "threads": torch.get_num_threads(),
        "batch_tokens": evaluator.measure.batch_tokens,
        "scores": evaluator.scoring.describe(),
        "reconstruct": settings.reconstruct,
        "reconstruct_mask": settings.reconstruct_mask,
        "reconstruct_stages": list(settings.reconstruct_stages),
        "calibration_text": evaluator.calibration.protocol() if evaluator.calibrates else None,
        "genes": settings.genes,
        "sparsity_denominators": {
            "prunable": evaluator.masks.total,
            "model": evaluator.model_size,
        },
    }


def of_model(source: str, model: Any) -> dict[str, Any]:
    """What holds of any ``model``, from ``source``."""
    return {"perplexity": PERPLEXITY, "model": source, "dtype": dtype_of(model), "device": device_of(model)}
