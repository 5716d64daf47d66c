"""Genomes as language models read and write them: lists of whole numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from evoprune import Gene, Genes

_STEPS = 100
"""Real genes are written in so many steps of their range."""

_LIST = re.compile(r"\[[^\[\]]*\]")

_TASK = (
    "A genome has a whole number for each gene, from 0 to the most of the gene:\n{most}\nWrite variations of {genome}. "
    "In each, some numbers rise, others fall, and their sum stays about the same."
)


class Unusable(Exception):
    """An answer holds no other genome; says why not."""


def most(gene: Gene) -> int:
    """The largest number that stands for a value of ``gene``; the least is 0."""
    return int(gene.up) if gene.levels else _STEPS if gene.free else 0


def written(genome: Sequence[float], genes: Genes) -> list[int]:
    """The number that stands for each value of ``genome``."""
    return [
        round((gene.nearest(value) - gene.low) / (gene.up - gene.low) * most(gene)) if gene.free else 0
        for value, gene in zip(genome, genes, strict=True)
    ]


def value(number: int, gene: Gene) -> float:
    """The value of ``gene`` that ``number`` stands for."""
    return gene.nearest(gene.low + number / (most(gene) or 1) * (gene.up - gene.low))


def request(genome: Sequence[float], examples: Sequence[Sequence[float]], genes: Genes) -> dict[str, Any]:
    """The body of a chat completion that asks for a genome like ``examples``, which are variations of ``genome``.

    The form of the answer is part of it, as a JSON schema, so a server that knows such forms gives no other one.
    """
    limits = "\n".join(f"{gene.name}: {most(gene)}" for gene in genes)
    messages = [{"role": "user", "content": _TASK.format(most=limits, genome=json.dumps(written(genome, genes)))}]
    for example in examples:
        answer = json.dumps({"genome": written(example, genes)})
        messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "Another one."}]
    number = {"type": "integer", "minimum": 0, "maximum": max(map(most, genes))}
    numbers = {"type": "array", "items": number, "minItems": len(genes), "maxItems": len(genes)}
    schema = {"type": "object", "properties": {"genome": numbers}, "required": ["genome"]}
    form = {"type": "json_schema", "json_schema": {"name": "genome", "schema": schema}}
    return {"messages": messages, "temperature": 0, "max_tokens": 32 + 8 * len(genes), "response_format": form}


def read(answer: str, genes: Genes, parent: Sequence[int]) -> list[int]:
    """The numbers of the first list in ``answer``. Raises Unusable unless they are a genome other than ``parent``."""
    found = _LIST.search(answer)
    try:
        numbers = json.loads(found[0]) if found else None
    except ValueError:
        numbers = None
    if numbers is None:
        raise Unusable("no list of numbers")
    if len(numbers) != len(genes):
        raise Unusable("another number of genes")
    if not all(type(number) is int and 0 <= number <= most(gene) for number, gene in zip(numbers, genes, strict=True)):
        raise Unusable("beyond the bounds")
    if numbers == parent:
        raise Unusable("the same genome again")
    return numbers  # type: ignore[no-any-return]
