import random
from itertools import product

import pytest

from problems.allocations.builtin import cheapest
from tests.problems.small import random_model, save


def test_the_cheapest_levels_are_those_that_trying_all_finds():
    rng = random.Random(0)
    for _ in range(100):
        groups, levels = rng.randint(1, 5), rng.randint(2, 4)
        errors = [[rng.random() for _ in range(levels)] for _ in range(groups)]
        sizes = [rng.randint(1, 6) for _ in range(groups)]
        need = rng.randint(0, (levels - 1) * sum(sizes))

        def total(table, chosen):
            return sum(row[level] for row, level in zip(table, chosen, strict=True))

        counted = [[size * level for level in range(levels)] for size in sizes]
        enough = [c for c in product(range(levels), repeat=groups) if total(counted, c) >= need]
        found = cheapest(errors, sizes, need)
        assert tuple(found) in enough
        assert total(errors, found) == pytest.approx(min(total(errors, chosen) for chosen in enough))


def test_layer_errors_spare_the_group_that_costs_most_alone(pruning, find, tmp_path):
    """In a model all of whose blocks but one are cut to nothing, only that one costs anything."""
    model = random_model("gpt2")
    for block in model.transformer.h[1:]:
        for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
            layer.weight.zero_()
    problem = pruning(model=save(model, tmp_path), objective="kl", sparsity=0.5, max_sparsity=1.0)
    genome = find("layer_errors", problem)
    assert genome[0] < 0.1
    assert min(genome[1:]) >= genome[0]
