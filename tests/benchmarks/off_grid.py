"""Make a model whose weights are off the grid of a 4-bit type, on which a dequantised model lies.

On it, that type loses nothing and others look worse than they are. Noise takes the weights off the grid, and
distillation from the model as it was, on 200 windows of a text, gives back what the noise lost::

    python -m tests.benchmarks.off_grid MODEL.gguf wikitext-2/valid.txt MODEL
"""

import copy
import math
import sys

import torch
from torch import nn
from torch.nn.functional import kl_div

from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.models.load import load_model
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.windows import cut_windows

_BLOCK, _STEPS = 32, 15  # weights of a row that share a grid; its steps from the least to the largest, as in Q4_1
_WINDOWS, _RATE = 200, 3e-4  # windows of 256 tokens, one a step; the rate falls as a cosine


@torch.no_grad()
def move(model: nn.Module) -> None:
    """Add uniform noise, one step of the grid wide, to every weight of matrices and embeddings, in place."""
    random = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            blocks = parameter.view(-1, _BLOCK)
            step = (blocks.amax(1, keepdim=True) - blocks.amin(1, keepdim=True)) / _STEPS
            blocks += (torch.rand(blocks.shape, generator=random) - 0.5) * step


def distil(model: nn.Module, teacher: nn.Module, windows: torch.Tensor) -> None:
    """Train the matrices of the blocks towards the teacher's predictions, a window ``(tokens,)`` a step."""
    weights = [matrix.weight.requires_grad_() for matrix in find_matrices(model)]
    optimiser = torch.optim.AdamW(weights, _RATE, weight_decay=0.0)
    falling = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / len(windows))
    )
    for window in windows:
        with torch.no_grad():
            target = teacher(window[None]).logits.log_softmax(-1)
        loss = kl_div(model(window[None]).logits.log_softmax(-1), target, reduction="sum", log_target=True)
        (loss / len(window)).backward()
        optimiser.step()
        falling.step()
        optimiser.zero_grad()


def main(source: str, text: str, folder: str) -> None:
    """Write the model into ``folder``, in bfloat16."""
    teacher, tokenizer = load_model(ModelSettings(model=source, dtype="float32", device="cpu"))
    windows = cut_windows(TextSettings(source=text, window=256, windows=_WINDOWS), tokenizer, "text").tokens
    move(model := copy.deepcopy(teacher))
    distil(model, teacher, windows)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
