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
from evoprune.problems.language_model.export.recipe import by_tensor
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.windows import cut_windows
from evoprune.problems.language_model.transforms.gguf_types.levels import estimated, importance_of, sampled
from evoprune.problems.language_model.transforms.gguf_types.matrices import typed_matrices

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
    importance = importance_of(resident, cut_windows(text, resident.tokenizer, "text").tokens)
    matrices = [*typed_matrices(resident)]
    weighing = {
        each.name: [(torch.ones(len(each.rows(each.weight))), importance[each.name])]
        for each in matrices
        if each.name in importance
    }
    samples = dict(zip((each.name for each in matrices), sampled(matrices, weighing), strict=True))
    base = find_base(resident, None)
    outside = contents(resident.model, base, {}).bytes - sum(2 * each.size for each in matrices)
    costs: dict[str, dict[str, float]] = {each.name: {} for each in matrices}
    for kind in ggml.COMMON:
        own = [each for each in matrices if ggml.fits(kind, each.rows(each.weight).shape[1])]
        found = estimated([(each, samples[each.name]) for each in own], importance, kind)["harms"].tolist()
        for each, harm in zip(own, found, strict=True):
            costs[each.name][kind] = harm
    unit = (options.bytes - outside) / UNITS
    spent = [
        np.ceil([each.size * ggml.bits(kind) / 8 / unit for kind in costs[each.name]]).astype(int) for each in matrices
    ]
    chosen = cheapest([np.array([*costs[each.name].values()]) for each in matrices], spent, UNITS)
    kinds = {each.name: [*costs[each.name]][place] for each, place in zip(matrices, chosen, strict=True)}
    for tensor, place in by_tensor(resident, base, {name: name for name in kinds}).items():  # type: ignore[arg-type]
        print(f"{tensor}={kinds[place]}")  # type: ignore[index]


if __name__ == "__main__":
    main()
