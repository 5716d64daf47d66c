"""The best weights of a training are known, and when it no longer gains."""

import json

import pytest
import torch

from evoprune.problems.language_model.distillation.progress import Progress
from evoprune.problems.language_model.results.learning_curve import PERPLEXITY


@pytest.mark.parametrize(
    ("before", "measured", "best", "stale"),
    [
        (30.0, [], 0, 0),
        (30.0, [28, 27, 26], 3, 0),
        (30.0, [28, 27, 29, 28], 2, 0),
        (30.0, [28, 27, 29, 28, 28, 29], 2, 2),
        (30.0, [40, 36, 33], 0, 0),
        (30.0, [40, 36, 33, 29], 4, 0),
        (30.0, [40, 41, 42], 0, 2),
        (30.0, [float("inf"), float("nan")], 0, 1),
    ],
)
def test_a_training_is_stale_while_it_gains_nothing_and_the_best_may_be_of_before(before, measured, best, stale):
    progress = Progress(steps=100)
    for tokens, value in enumerate([before, *measured]):
        progress.add(tokens, None, {PERPLEXITY: value})
    assert (progress.best, progress.stale) == (best, stale)
    assert progress.helped == (best > 0)


def test_a_loss_that_is_no_number_can_be_kept():
    progress = Progress(steps=100)
    progress.add(512, torch.tensor([float("nan"), float("inf"), 1.0]), {PERPLEXITY: float("nan")})
    assert json.loads(json.dumps(progress.curve, allow_nan=False)) == progress.curve
    assert progress.curve[0]["hidden"] == 1.0
