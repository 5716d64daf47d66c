import pytest


def test_groups_of_a_size_get_the_same_and_smaller_matrices_lose_less(loose, find):
    problem = loose()
    genome = find("erdos_renyi", problem)
    by_size = dict(zip((group.size for group in problem.session.transform.groups), genome, strict=True))
    assert genome == [by_size[group.size] for group in problem.session.transform.groups]
    assert list(dict(sorted(by_size.items())).values()) == sorted(by_size.values())


def test_what_is_kept_of_a_matrix_is_in_proportion_to_the_sum_of_its_sides(pruning, find):
    problem = pruning(genes="matrix", min_sparsity=0.0, max_sparsity=1.0, sparsity=0.5)
    kept = [
        (1 - gene) * group.size / sum(group.matrices[0].weight.shape)
        for gene, group in zip(find("erdos_renyi", problem), problem.session.transform.groups, strict=True)
    ]
    assert kept == pytest.approx([kept[0]] * len(kept))
