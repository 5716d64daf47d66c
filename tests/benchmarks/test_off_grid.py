"""The noise that moves a model off the grid stays within half a step of it."""

import torch

from problems.models.load import load_model
from problems.models.settings import ModelSettings
from tests.benchmarks.off_grid import main
from tests.problems.small import random_model, save


def test_each_weight_moves_by_half_a_step_at_most(tmp_path):
    main([save(random_model("llama"), tmp_path / "before"), str(tmp_path / "after")])
    before, after = (
        dict(load_model(ModelSettings(model=str(tmp_path / name), dtype="float32"))[0].named_parameters())
        for name in ("before", "after")
    )
    assert before.keys() == after.keys()
    for name, weight in before.items():
        if weight.dim() != 2:
            assert torch.equal(after[name], weight)
            continue
        for block, moved in zip(weight.view(-1, 32), after[name].view(-1, 32), strict=True):
            step = (block.max() - block.min()) / 15
            rounding = moved.abs().max() / 2**8
            assert (moved - block).abs().max() <= step / 2 + rounding
            assert (moved - block).abs().max() >= step / 8
