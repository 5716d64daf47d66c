"""The protocol of measurements, stated with every perplexity."""

from __future__ import annotations

from typing import Any

import torch

from problems.evaluation.session import Session
from problems.models.resident import Resident

PERPLEXITY = (
    "exp of the mean next-token loss over non-overlapping windows, losses in float32, no special tokens added but the "
    "one that a text's begin names"
)


def of_session(session: Session) -> dict[str, Any]:
    """The protocol of a run's models on any text."""
    settings, resident, texts = session.settings, session.resident, session.texts
    return {
        **of_model(resident),
        "revision": settings.revision,
        "weights_sha256": resident.weights_sha256,
        "threads": torch.get_num_threads(),
        "batch_tokens": session.fitness.measure.batch_tokens,
        **session.transform.describe(),
        "calibration_text": texts.calibration.protocol() if texts.calibrates else None,
        "sparsity_denominators": {"prunable": resident.prunable_weights, "model": resident.parameters},
    }


def of_model(resident: Resident) -> dict[str, Any]:
    """The protocol of any model."""
    return {
        "perplexity": PERPLEXITY,
        "model": resident.source,
        "dtype": resident.dtype,
        "device": resident.place,
    }
