"""What an evaluator knows its model by."""

import pytest
import torch

from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.settings import PruningSettings

TEXT = {"source": "bundled:python-docs", "window": 32, "windows": 2}


@pytest.mark.parametrize("part", ["transformer.wte", "transformer.ln_f", "transformer.h.0.mlp.c_fc"])
def test_weights_of_every_part_of_the_model_are_in_its_hash(part, tmp_path):
    settings = PruningSettings(dtype="float32", search_text=TEXT | {"split": "validation"})
    evaluator = Evaluator(settings)
    with torch.no_grad():
        evaluator.model.get_submodule(part).weight.mul_(1.5)
    evaluator.model.save_pretrained(tmp_path)
    evaluator.tokenizer.save_pretrained(tmp_path)
    changed = Evaluator(settings.model_copy(update={"model": str(tmp_path)}))
    assert changed.weights_sha256 != evaluator.weights_sha256
