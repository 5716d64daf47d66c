import pytest
import torch

from tests.problems.small import random_model, save


def test_a_global_ranking_removes_the_lowest_scores_of_the_whole_model(loose, find):
    problem = loose()
    genome = find("global", problem)
    scores = {matrix.name: matrix.weight.abs().flatten() for matrix, _ in problem.session.transform.scored()}
    threshold = torch.cat(list(scores.values())).sort().values[sum(map(len, scores.values())) // 2]
    for group, gene in zip(problem.session.transform.groups, genome, strict=True):
        below = sum(int((scores[matrix.name] < threshold).sum()) for matrix in group.matrices) / group.size
        assert gene == pytest.approx(below, abs=2e-3)


def test_a_normalised_ranking_does_not_see_how_large_a_layers_weights_are(loose, find, tmp_path):
    model = random_model("gpt2")
    model.transformer.h[1].mlp.c_fc.weight.mul_(10)
    before, scaled = loose(), loose(model=save(model, tmp_path))
    assert find("global_normalised", scaled) == pytest.approx(find("global_normalised", before), abs=1e-3)
    assert find("global", scaled) != pytest.approx(find("global", before), abs=0.01)


def test_a_matrix_of_zeros_does_not_flatten_a_ranking(loose, find, tmp_path):
    model = random_model("gpt2")
    for block, share in zip(model.transformer.h, (0.1, 0.3, 0.6), strict=True):
        for layer in (block.attn.c_proj, block.mlp.c_proj):
            layer.weight.view(-1)[: int(share * layer.weight.numel())] *= 0.01
    whole = find("global_normalised", loose(model=save(model, tmp_path / "whole")))
    model.transformer.h[0].attn.c_attn.weight.zero_()
    genome = find("global_normalised", loose(model=save(model, tmp_path / "zeroed")))
    assert max(genome) - min(genome) > 0.5 * (max(whole) - min(whole))
