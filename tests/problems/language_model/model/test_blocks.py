import pytest
import torch
from torch import nn

from evoprune import InputError
from problems.language_model.model.blocks import find_blocks, find_matrices


def test_all_and_only_the_matrices_in_the_blocks_are_found(model):
    matrices = find_matrices(model)
    blocks = {matrix.block for matrix in matrices}
    assert blocks == {0, 1, 2}
    ours = {id(matrix.weight) for matrix in matrices}
    name, _ = find_blocks(model)
    inside = {id(p) for n, p in model.named_parameters() if n.startswith(name) and p.dim() == 2}
    assert ours == inside
    assert not ours & {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}


def test_every_block_has_the_same_kinds_and_names_lead_to_modules(model):
    matrices = find_matrices(model)
    kinds = [[m.kind for m in matrices if m.block == block] for block in range(3)]
    assert kinds[0] == kinds[1] == kinds[2]
    assert all(model.get_submodule(matrix.name) is matrix.module for matrix in matrices)


def test_transposed_marks_conv1d(model):
    transposed = {matrix.transposed for matrix in find_matrices(model)}
    assert transposed == {model.config.model_type == "gpt2"}


def test_a_list_within_a_block_is_not_taken_for_the_blocks():
    experts = lambda: nn.ModuleList(nn.Linear(4, 4) for _ in range(9))  # noqa: E731
    model = nn.Module()
    model.layers = nn.ModuleList(nn.ModuleDict({"experts": experts()}) for _ in range(2))
    assert find_blocks(model)[0] == "layers"


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(4, 4)), nn.ModuleList([nn.ReLU(), nn.ReLU()])])
def test_a_model_without_blocks_is_refused(model):
    with pytest.raises(InputError, match="no list of similar blocks"):
        find_blocks(model)


def test_experts_in_one_parameter_are_refused_and_convolutions_are_not():
    model = nn.Module()
    model.layers = nn.ModuleList(nn.ModuleDict({"mlp": nn.Linear(4, 4), "conv": nn.Conv1d(4, 4, 3)}) for _ in range(2))
    assert len(find_matrices(model)) == 2
    for layer in model.layers:
        layer["mlp"].up_proj = nn.Parameter(torch.ones(8, 4, 4))
    with pytest.raises(InputError, match=r"mlp\.up_proj of each block\): mixture-of-experts models are not supported"):
        find_matrices(model)
