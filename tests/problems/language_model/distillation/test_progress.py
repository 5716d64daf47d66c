"""The best weights of a training are known, and when it no longer gains; checkpoints are whole or not there."""

import json

import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.distillation.progress import TrainingProgress
from evoprune.problems.language_model.results.result import PERPLEXITY


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
    progress = TrainingProgress("all", [100])
    for tokens, value in enumerate([before, *measured]):
        progress.add(tokens, None, {PERPLEXITY: value})
    assert (progress.best, progress.stale) == (best, stale)
    assert progress.helped == (best > 0)


def test_a_loss_that_is_no_number_can_be_kept():
    progress = TrainingProgress("all", [100])
    progress.add(512, torch.tensor([float("nan"), 1.0]), {PERPLEXITY: float("nan")})
    assert json.loads(json.dumps(progress.curve, allow_nan=False)) == progress.curve
    assert progress.curve[0]["cross_entropy"] == 1.0


def test_the_last_is_read_back_and_the_only_one(tmp_path):
    path = tmp_path / "checkpoint"
    assert TrainingProgress.read(path) is None
    for step in (2, 10):
        progress = TrainingProgress("all", [100], step)
        progress.write(path, {"weight": torch.full((2, 3), step / 3, dtype=torch.bfloat16)})
    found, tensors = TrainingProgress.read(path)
    assert found == progress
    assert tensors["weight"].equal(torch.full((2, 3), 10 / 3, dtype=torch.bfloat16))
    assert list(tmp_path.iterdir()) == [path]
    spoilt = bytearray(path.read_bytes())
    spoilt[-1] ^= 1
    path.write_bytes(spoilt)
    with pytest.raises(InputError, match=path.name):
        TrainingProgress.read(path)
