"""A function on each space, and the experiment that minimises it."""

import itertools
import math
import random
from typing import Any

from evoprune import Gene, Genes, Mixed, Permutation, Sequence, Space, Tree

_PLACES = [(random.Random(place).random(), random.Random(-place).random()) for place in range(9)]


def length(tour):
    return sum(math.dist(_PLACES[a], _PLACES[b]) for a, b in zip(tour, [*tour[1:], tour[0]], strict=True))


def change(coins):
    return abs(sum(coins) - 63) + len(coins) / 100


def error(formula):
    return sum((formula(x / 4) - (x / 4) ** 3 - x / 4) ** 2 for x in range(-4, 5))


def spread(order, rates):
    return length(order) + sum((rate - 0.3) ** 2 for rate in rates[:2]) + (rates[2] == "slow")


def repeats(kinds):
    return sum(a == b for a, b in itertools.pairwise(kinds)) + kinds.count("c") / 10


RATES = Genes([Gene("first"), Gene("second", -1.0, 3.0), Gene.choice("pace", ["slow", "fast"])])
SPACES: dict[str, Space] = {
    "permutation": Permutation(9),
    "sequence": Sequence([1, 2, 5, 10, 20, 50], 1, 8),
    "tree": Tree(["add", "mul", "sub"], ["x"], constants=(-1, 1), deepest=5),
    "mixed": Mixed(order=Permutation(9), rates=RATES),
    "genes": Genes([Gene.choice(f"kind{place}", "abc") for place in range(8)]),
}
FUNCTIONS = {"permutation": length, "sequence": change, "tree": error, "mixed": spread, "genes": repeats}
_RATES = [{"name": "first"}, {"name": "second", "low": -1, "up": 3}, {"name": "pace", "levels": ["slow", "fast"]}]
_SECTIONS: dict[str, Any] = {
    "permutation": {"items": 9},
    "sequence": {"levels": [1, 2, 5, 10, 20, 50], "shortest": 1, "longest": 8},
    "tree": {"primitives": ["add", "mul", "sub"], "arguments": ["x"], "constants": [-1, 1], "deepest": 5},
    "mixed": {"order": {"use": "permutation", "items": 9}, "rates": {"use": "genes", "genes": _RATES}},
    "genes": {"genes": [{"name": f"kind{place}", "levels": [*"abc"], "ordered": False} for place in range(8)]},
}


def experiment(space: str, module: str = "tests.spaced") -> dict[str, Any]:
    """The experiment that minimises the function on ``space``; ``module``: with the function."""
    call = f"{module}:{FUNCTIONS[space].__name__}"
    problem = {"use": "function", "call": call, "space": {"use": space, **_SECTIONS[space]}}
    search = {"operators": {"algorithm": "auto"}, "generations": 5, "seed": 3}
    return {"problem": problem, "plugins": [module], **search}
