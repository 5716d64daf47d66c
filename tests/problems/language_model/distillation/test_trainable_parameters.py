"""The trained parameters change, and nothing else; zeros stay."""

import copy

import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.distillation.trainable_parameters import TrainableParameters
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.results.final_model import QuantisedModel
from tests.problems.language_model.mixtures import random_mixture
from tests.problems.language_model.small import IN_MEMORY, random_model


def changed_by_training(model, tokens, train, fixed=(), sparse=True):
    """The model after some steps, and the names of tensors that changed."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    parameters = TrainableParameters(QuantisedModel(model, fixed), train, sparse)
    adam = torch.optim.AdamW(parameters.by_name.values(), lr=0.01, weight_decay=0.1)
    for _ in range(4):
        model(input_ids=tokens, labels=tokens).loss.backward()
        parameters.keep_zeros()
        adam.step()
        adam.zero_grad()
    after = parameters.merged(model, IN_MEMORY, torch.float32)
    assert after.state_dict().keys() == before.keys()
    return after, {name for name, tensor in after.state_dict().items() if not tensor.equal(before[name])}


def names_of(model):
    """Names of matrices, and of the other parameters but embeddings and the head."""
    ends = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    kept = {id(each) for module in [*ends, model.get_output_embeddings()] for each in module.parameters()}
    matrices = {f"{matrix.name}.weight" for matrix in find_matrices(model)}
    rest = {name for name, each in model.named_parameters() if id(each) not in kept} - matrices
    return matrices, rest


@pytest.mark.parametrize("train", ["all", "norms"])
def test_zeros_and_embeddings_stay(model, tokens, train):
    for matrix in find_matrices(model):
        matrix.weight.data[torch.rand(matrix.weight.shape) < 0.5] = 0
    zeros = [matrix.weight == 0 for matrix in find_matrices(model)]
    matrices, rest = names_of(model)
    after, changed = changed_by_training(model, tokens, train)
    if train == "norms":
        assert changed
        assert changed <= rest
    else:
        assert changed == matrices | rest
    assert all(torch.equal(matrix.weight == 0, mask) for matrix, mask in zip(find_matrices(after), zeros, strict=True))


def test_beside_quantised_matrices_all_is_trained_but_embeddings_and_the_head(model, tokens):
    matrices, rest = names_of(model)
    left = f"{find_matrices(model)[0].name}.weight"
    assert changed_by_training(model, tokens, "norms", matrices - {left})[1] == rest | {left}


def test_low_rank_updates_are_merged_into_plain_layers(tokens):
    pytest.importorskip("peft")
    model = random_model("llama")
    before = copy.deepcopy(model).state_dict()
    after, changed = changed_by_training(model, tokens, "lora", sparse=False)
    assert len(changed) == len(find_matrices(after))
    for name in changed:
        assert torch.linalg.matrix_rank(after.state_dict()[name] - before[name], rtol=1e-3) <= 16


def test_zeros_of_a_model_that_was_not_pruned_are_trained(tokens):
    model = random_model("gpt2")
    find_matrices(model)[1].weight.data[0] = 0
    after, _ = changed_by_training(model, tokens, "all", sparse=False)
    assert all(matrix.weight.all() for matrix in find_matrices(after))


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(InputError, match="zeros of the pruned weights"):
        TrainableParameters(QuantisedModel(random_model("gpt2"), {}), "lora", sparse=True)
    model = random_model("llama")
    for module in list(model.modules()):  # as those of an OLMo, norms have no weights
        if "norm" in type(module).__name__.lower():
            module.register_parameter("weight", None)
    with pytest.raises(InputError, match="norms: the model has none"):
        TrainableParameters(QuantisedModel(model, {}), "norms")


def test_beside_scales_others_change_by_a_share_of_their_size():
    pytest.importorskip("llama_cpp_py_sync")
    model = random_model("gpt2")
    matrix = find_matrices(model)[0]
    name = f"{matrix.name}.weight"
    rows = matrix.rows(matrix.weight.detach()).contiguous().numpy()
    encoded = {name: GgmlMatrix("Q8_0", ggml.quantize(rows, "Q8_0"))}
    parameters = TrainableParameters(QuantisedModel(model, encoded), "scales")
    shares = dict(zip(parameters.by_name, (group["share"] for group in parameters.groups()), strict=True))
    norm = "transformer.ln_f.weight"
    assert shares.pop(f"{matrix.name}.parametrizations.weight.original") == 1
    assert shares[norm] == pytest.approx(float(parameters.by_name[norm].detach().square().mean()) ** 0.5)
    assert parameters.count == sum(each.numel() for each in parameters.by_name.values())


@pytest.mark.parametrize("quantised", [False, True])
def test_routers_are_trained_with_norms_and_experts_are_not(quantised, tokens):
    model = random_mixture("qwen3_moe")
    matrices = {matrix.parameter: matrix.weight for matrix in find_matrices(model)}
    encoded = {name: GgmlMatrix("Q8_0", ggml.quantize(each.numpy(), "Q8_0")) for name, each in matrices.items()}
    _, changed = changed_by_training(model, tokens, "norms", encoded if quantised else {}, sparse=False)
    small = {name for name, each in model.named_parameters() if each.dim() == 1}
    assert changed == small | {f"model.layers.{block}.mlp.gate.weight" for block in range(3)}
