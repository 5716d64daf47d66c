"""Mutation by a language model."""

from __future__ import annotations

import random
from collections import Counter
from typing import Annotated

from pydantic import Field

from evoprune import Budget, Genes, Individual, Positive, note
from operators.chat import NoAnswer, ask
from operators.mutation.exchange import exchange
from operators.spending import need
from operators.written import Unusable, read, request, value, written

counts: Counter[str] = Counter()
"""Children of this process: how many an answer gave (``used``), and how many ``exchange`` bred, by the reason."""

_EXAMPLES = 2
"""Children of ``exchange`` that a request shows."""


def asked(
    individual: Individual,
    *,
    genes: Genes,
    budget: Budget | None,
    base_url: Annotated[
        str, Field(pattern="^https?://[^/@]+", description="of the endpoint; /chat/completions is added")
    ] = "http://127.0.0.1:8080/v1",
    model: Annotated[str, Field(description="its name at the endpoint")] = "default",
    timeout: Annotated[Positive, Field(description="seconds to wait for a sign of the endpoint")] = 60.0,
) -> tuple[Individual]:
    """Let a language model write the child; where its answer cannot be used, ``exchange`` breeds it.

    An answer can be used if it holds another genome within the bounds. Any endpoint with OpenAI's chat completions
    serves, such as that of llama.cpp's server; a key, where one is wanted, is in the environment as
    ``EVOPRUNE_API_KEY``. That a language model breeds is the idea of Self-Pruner (Huang et al., "Towards Efficient
    Automatic Self-Pruning of Large Language Models", 2025). A request shows the genome and two children of it by
    ``exchange``, drawn at random, and asks for another one.

    Its temperature is 0 and its seed is drawn, but servers may still differ. So answers are kept in the cache: a run
    that is resumed or repeated sends no request twice. Without them it asks again, and ``resume`` refuses if other
    children come of it. Numbers that an answer repeats leave their gene as it is. Raises ValueError without a budget.
    """
    budget = need(budget, "operators.mutate: asked")
    parent = written(individual, genes)
    examples = [exchange(individual.child(), genes=genes, budget=budget)[0] for _ in range(_EXAMPLES)]
    sent = request(individual, examples, genes) | {"model": model, "seed": random.getrandbits(31)}
    try:
        child = read(ask(base_url, sent, timeout), genes, parent)
    except (NoAnswer, Unusable) as error:
        _count(error)
        return exchange(individual, genes=genes, budget=budget)
    counts["used"] += 1
    individual[:] = [
        own if new == old else value(new, gene)
        for own, new, old, gene in zip(individual, child, parent, genes, strict=True)
    ]
    return (individual,)


def _count(error: Exception) -> None:
    """Count a child of ``exchange``, and tell people the first time, then ever more rarely."""
    counts[str(error) if isinstance(error, Unusable) else "no answer"] += 1
    others = counts.total() - counts["used"]
    if others.bit_count() == 1:  # a power of 2
        note(f"operators.mutate: asked: exchange bred {others} of {counts.total()} children (the last: {error})")
