"""Print the types of tensors that llama.cpp's proposal 15550 gives a .gguf file of at most so many bytes.

    python -m tests.benchmarks.target_size MODEL.gguf --bytes 753000000 --text TEXT.txt > types.txt

The squared errors of matrices on sampled rows, weighted by the importance of inputs, have the least sum; nothing tells
how much the model depends on a matrix. ``llama-quantize --tensor-type-file types.txt`` makes the file.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from evoprune.operators.knapsack import cheapest
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.types.errors import draw_samples
from evoprune.problems.language_model.gguf.types.importance import measure_importance
from evoprune.problems.language_model.gguf.types.matrices import specs_of, typed_matrices
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.windows import cut_windows
from tests.benchmarks.common import losses_of

UNITS = 20_000  # of the knapsack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--windows", type=int, default=4)
    options = parser.parse_args()
    resident = Resident.load(ModelSettings(model=options.model))
    text = TextSettings(source=options.text, window=256, windows=options.windows)
    importance = measure_importance(resident, cut_windows(text, resident.tokenizer, "text").tokens)
    matrices = [*typed_matrices(resident)]
    weighing = {
        each.name: [(torch.ones(len(each.rows(each.weight))), importance[each.name])]
        for each in matrices
        if each.name in importance
    }
    level_losses = losses_of(matrices, draw_samples(matrices, weighing), importance, ggml.COMMON)
    base = find_base(resident, None)
    outside = contents(resident.model, base, {}).bytes - sum(2 * each.size for each in matrices)
    unit = (options.bytes - outside) / UNITS
    spent = [
        np.ceil([each.size * ggml.bits(kind) / 8 / unit for kind in own]).astype(int)
        for each, own in zip(matrices, level_losses, strict=True)
    ]
    chosen = cheapest([np.array([*own.values()]) for own in level_losses], spent, UNITS)
    specs = specs_of(resident, base)
    for each, own, place in zip(matrices, level_losses, chosen, strict=True):
        for spec in specs[each.name]:
            print(f"{spec.name}={[*own][place]}")


if __name__ == "__main__":
    main()
