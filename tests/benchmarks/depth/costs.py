"""What dropping each sublayer alone seems to cost: a number for each gene of the transform ``sublayers``.

Each reads the dense model's behaviour on some tokens, and calls ``pay`` with their number before it runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import pairwise

import torch
from torch.nn.functional import cross_entropy

from operators.algorithm.breeding import losses
from problems.language_model.problem import LanguageModel
from problems.models.sublayers import find_sublayers

Pay = Callable[[int], None]
"""Takes the number of tokens that are about to be run through the model; may raise, where they are not to be had."""

Costs = Callable[[LanguageModel, Pay], list[float]]

_GRADIENT = 3
"""What a token of a gradient counts: a forward pass, and a backward one of twice its work."""


def block_influence(problem: LanguageModel, pay: Pay) -> list[float]:
    """1 - the mean cosine similarity of the hidden states before and after the sublayer, in [0, 2].

    ShortGPT (Men et al., 2024, equation 1), for the addition of a sublayer instead of a block; on the calibration text,
    which counts once: that a block is run three times, without both, without the MLP, and whole, spares hooks.
    """
    session = problem.session
    transform, forward, tokens = session.transform, session.resident.forward, session.texts.calibration.tokens
    sums = torch.zeros(len(transform.dense), dtype=torch.float64)
    for window in tokens.split(1):
        pay(window.numel())
        state = None
        for first in range(0, len(sums), 2):
            states = []
            for dropped in ((1.0, 1.0), (0.0, 1.0), (0.0, 0.0)):
                genome = list(transform.dense)
                genome[first : first + 2] = dropped
                transform.apply(genome)
                states.append(forward.step(window.to(forward.device), first // 2, state))
            state = states[-1]
            for place, (before, after) in enumerate(pairwise(states), start=first):
                sums[place] += float(torch.cosine_similarity(before.float(), after.float(), dim=-1).sum())
    return (1 - sums / tokens.numel()).tolist()


def taylor(problem: LanguageModel, pay: Pay) -> list[float]:
    """The sum over the sublayer's weights of |w dL/dw|, L the mean loss on the calibration text, in nats a token.

    Shortened LLaMA (Kim et al., 2024, section 3.1, Taylor without its heuristics); gradients are added in float32.
    """
    session = problem.session
    session.transform.apply(session.transform.dense)
    model, tokens = session.resident.model, session.texts.calibration.tokens
    parts = [[layer.weight for layer in sublayer.layers] for sublayer in find_sublayers(model)]
    gradients = {weight: torch.zeros_like(weight, dtype=torch.float32) for part in parts for weight in part}
    with ExitStack() as stack, torch.enable_grad():
        for weight, total in gradients.items():
            stack.callback(weight.requires_grad_, False)
            hook = partial(_add_to, total)
            stack.callback(weight.requires_grad_().register_post_accumulate_grad_hook(hook).remove)
        for window in tokens:
            pay(_GRADIENT * window.numel())
            window = window.to(model.device)
            logits = model(input_ids=window[None], use_cache=False).logits[0, :-1].float()
            cross_entropy(logits, window[1:]).backward()
    return [
        sum(float((weight.detach() * gradients[weight]).abs().double().sum()) for weight in part) / len(tokens)
        for part in parts
    ]


def alone(problem: LanguageModel, pay: Pay) -> list[float]:
    """How much the loss on the search text rises with this sublayer alone dropped: nats a token, or the divergence.

    Shortened LLaMA (Kim et al., 2024, section 3.1, PPL), as a difference of logarithms, which sums are made of.
    """
    fitness, dense = problem.session.fitness, problem.session.transform.dense
    tokens = problem.session.texts.search.tokens.numel()
    values = []
    for place in (None, *range(len(dense))):
        pay(tokens)
        values.append(fitness.value([float(gene == place) for gene in range(len(dense))])[0])
    before, *after = losses(values) if problem.settings.objective == "perplexity" else values
    return [loss - before for loss in after]


def _add_to(total: torch.Tensor, weight: torch.Tensor) -> None:
    assert weight.grad is not None
    total += weight.grad.float()
    weight.grad = None
