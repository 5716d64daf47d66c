"""What is trained changes, and nothing else; zeros stay."""

import copy

import pytest
import torch

from evoprune import InputError
from problems.distillation.trainable_parameters import Given, TrainableParameters, looks_pruned
from problems.models.blocks import find_matrices
from tests.problems.small import random_model


def trained_for_a_while(model, tokens, train, fixed=(), sparse=True):
    trained = TrainableParameters(Given(model, fixed, sparse), train)
    adam = torch.optim.AdamW(trained.by_name.values(), lr=0.01, weight_decay=0.1)
    for _ in range(4):
        model(input_ids=tokens, labels=tokens).loss.backward()
        trained.keep_zeros()
        adam.step()
        adam.zero_grad()
    return trained.merged(model)


def changed(before, after):
    return {name for name, value in before.state_dict().items() if not value.equal(after.state_dict()[name])}


@pytest.mark.parametrize("train", ["all", "norms"])
def test_zeros_and_embeddings_stay(model, tokens, train):
    for matrix in find_matrices(model):
        matrix.weight.data[torch.rand(matrix.weight.shape) < 0.5] = 0
    before = copy.deepcopy(model)
    after = trained_for_a_while(model, tokens, train)
    names = changed(before, after)
    tables = {name for name in before.state_dict() if "emb" in name or "wte" in name or "wpe" in name or "head" in name}
    assert names
    assert not names & tables
    matrices = {f"{matrix.name}.weight" for matrix in find_matrices(before)}
    assert bool(names & matrices) == (train == "all")
    for one, other in zip(find_matrices(before), find_matrices(after), strict=True):
        assert torch.equal(one.weight == 0, other.weight == 0)


def test_beside_quantised_matrices_all_is_trained_but_embeddings_and_the_head(model, tokens):
    before = copy.deepcopy(model)
    ends = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    kept = {id(each) for module in [*ends, model.get_output_embeddings()] for each in module.parameters()}
    rest = {name for name, each in model.named_parameters() if id(each) not in kept}
    fixed = {f"{matrix.name}.weight" for matrix in find_matrices(model)[1:]}
    assert changed(before, trained_for_a_while(model, tokens, "norms", fixed)) == rest - fixed


def test_low_rank_updates_are_merged_into_plain_layers(tokens):
    pytest.importorskip("peft")
    model = random_model("llama")
    before = copy.deepcopy(model)
    after = trained_for_a_while(model, tokens, "lora", sparse=False)
    assert after.state_dict().keys() == before.state_dict().keys()
    for name in changed(before, after):
        difference = after.state_dict()[name] - before.state_dict()[name]
        assert torch.linalg.matrix_rank(difference, rtol=1e-3) <= 16
    assert len(changed(before, after)) == len(find_matrices(before))


def test_low_rank_updates_of_a_pruned_model_are_refused():
    with pytest.raises(InputError, match="would fill the zeros"):
        TrainableParameters(Given(random_model("gpt2"), sparse=True), "lora")


def test_zeros_of_a_quantised_source_are_trained(tokens):
    model = random_model("gpt2")
    matrix = find_matrices(model)[0]
    matrix.weight.data[torch.rand(matrix.weight.shape) < 0.1] = 0
    after = trained_for_a_while(model, tokens, "all", sparse=False)
    assert find_matrices(after)[0].weight.all()


def test_of_weights_alone_a_large_share_of_zeros_tells_a_pruned_model():
    model = random_model("gpt2")
    find_matrices(model)[0].weight.data[0, :3] = 0
    assert not looks_pruned(model)
    find_matrices(model)[1].weight.data[0] = 0
    assert looks_pruned(model)


def test_a_model_without_what_is_to_be_trained_is_refused():
    model = random_model("llama")
    for module in list(model.modules()):  # as those of an OLMo, norms have no weights
        if "norm" in type(module).__name__.lower():
            module.register_parameter("weight", None)
    with pytest.raises(InputError, match="norms: the model has none of these"):
        TrainableParameters(Given(model), "norms")
