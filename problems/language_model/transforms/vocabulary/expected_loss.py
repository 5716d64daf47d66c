"""The expected loss of a search text where only the first tokens of an order stay."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from evoprune.console.phase import steps
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, shared
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.token_mask import predictions, scored
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.windows import Windows, tokens_of
from evoprune.problems.language_model.transforms.vocabulary.order import Order, uses_in

_LEAST = 1e-9  # of the last level: the harm of a level of a gene must be positive
_READ = 2048  # tokens, at most, that the gain of the kept ones is measured on


def expected_losses(resident: Resident, search: Windows, order: Order, counts: Sequence[int]) -> list[float]:
    """Return the loss with each of ``counts`` tokens, nats a token: of missing tokens, less the gain of kept ones."""
    uses = uses_in(tokens_of(load_text(search.settings, "search_text"), resident.tokenizer))
    what = [search.identity, counts, list(order.tokens)]
    made = partial(_gains, resident, search.tokens, order, counts)
    gains = shared(resident, "shares of kept tokens", what, made, torch.device("cpu"))["gains"]
    both = zip(counts[1:], gains.tolist(), strict=True)
    losses = [max(0.0, order.lost(uses, count) - gain) for count, gain in both]
    return [0.0, *losses[:-1], max(losses[-1], _LEAST)]


@torch.inference_mode()
def _gains(resident: Resident, tokens: torch.Tensor, order: Order, counts: Sequence[int]) -> Tensors:
    """The gain of kept tokens at each level but the first, as no others can follow: nats a token."""
    forward, ordered, levels = resident.forward, torch.tensor(order.tokens), torch.tensor(counts[1:])
    places = torch.full((counts[0],), len(ordered))
    places[ordered] = torch.arange(len(ordered))
    read, total = tokens[: max(1, _READ // tokens.shape[1])], torch.zeros(len(levels), dtype=torch.float64)
    for window in steps(read, "measuring the gain of tokens", "window"):
        rows, targets = scored(forward(window[None].to(forward.device))[0], window[None])
        for part in forward.parts(len(targets)):
            shares = forward.logits(rows[part]).softmax(-1).cpu()[:, ordered].double().cumsum(1)[:, levels - 1]
            total -= (shares.log() * (places[targets[part], None] < levels)).sum(0)
    return {"gains": total / predictions(read)}
