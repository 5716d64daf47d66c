"""Types of stacked experts: importance and sensitivity of each expert, the bytes of a file, and streaming."""

from __future__ import annotations

import math
import random

import numpy
import pytest
import torch
from torch.nn import functional

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.problems.language_model.calibration.sensitivity import sensitivity
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.reader import read_gguf
from evoprune.problems.language_model.gguf.types.importance import measure_importance
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.problems.language_model.testing import check_transform
from tests.problems.language_model.gguf.models import random_qwen3_moe, write_quantised
from tests.problems.language_model.mixtures import EXPERTS, mixture_in, random_mixture, routed

TYPES = {"use": "types", "types": ["Q8_0", "Q4_0"]}
ONE = {"use": "experts", "genes": "model"}


@pytest.fixture
def joint(byte_models):
    def made(*transforms, **settings):
        given = byte_models("qwen3_moe") | {"transforms": transforms or (ONE, TYPES)} | settings
        return LanguageModel(LanguageModelSettings(**given))

    return made


def resident_in(home, layout):
    return Resident.load(ModelSettings(model=mixture_in(home, layout)["model"], dtype="float32", device="cpu"))


@torch.no_grad()
@pytest.mark.parametrize("layout", ["olmoe", "gpt_oss"])
def test_inputs_count_for_each_expert_by_the_tokens_that_chose_it(layout, tmp_path, tokens):
    resident = resident_in(tmp_path, layout)
    found = measure_importance(resident, tokens)
    stacks = [stack for stack in resident.all_matrices if stack not in resident.matrices]
    assert [found[stack.name].shape[0] for stack in stacks] == [EXPERTS] * 6
    for (states, chosen, _, home), up, down in zip(
        routed(resident.model, tokens), stacks[::2], stacks[1::2], strict=True
    ):
        for expert in range(EXPERTS):
            own = states[(chosen == expert).any(1)]
            weight = up.rows(up.weight).unflatten(0, (EXPERTS, -1))[expert]
            if layout == "olmoe":
                gate, value = functional.linear(own, weight).chunk(2, dim=1)
                inner = functional.silu(gate) * value
            else:
                inner = home.experts._apply_gate(
                    functional.linear(own, weight) + home.experts.gate_up_proj_bias[expert]
                )
            for stack, inputs in ((up, own), (down, inner)):
                expected = inputs.square().sum(0) / tokens.numel()
                torch.testing.assert_close(found[stack.name][expert], expected, rtol=1e-4, atol=1e-7)


@torch.no_grad()
def test_a_random_change_of_an_expert_makes_the_divergence_that_the_factors_tell(tmp_path, tokens):
    resident = resident_in(tmp_path, "qwen3_moe")
    model, stacks = resident.model, resident.mixtures[-1].stacks  # no router after them chooses otherwise
    factors, dense = sensitivity(model, tokens, stacks), model(tokens).logits.double().log_softmax(-1)
    offs = []
    for stack in stacks:
        ((outputs, inputs),), weight = factors[stack.name], stack.weight.clone()
        for expert in range(EXPERTS):
            change = 0.002 * torch.randn_like(weight[expert])
            measured = told = 0.0
            for sign in (1, -1):
                stack.weight[expert] = weight[expert] + sign * change
                after = model(tokens).logits.double().log_softmax(-1)
                measured += float((dense.exp() * (dense - after)).sum(-1).mean())
                told += float(outputs.unflatten(0, (EXPERTS, -1))[expert] @ change.square() @ inputs[expert]) / 2
            stack.weight.copy_(weight)
            offs.append(math.log(told / measured))
    assert abs(sum(offs) / len(offs)) < math.log(1.5)


def test_an_expert_that_no_token_chose_is_told_once(tmp_path):
    given, model = mixture_in(tmp_path, "gpt_oss"), random_mixture("gpt_oss")
    model.model.layers[1].mlp.router.bias[2] = -100
    model.save_pretrained(given["model"])
    transform = LanguageModel(LanguageModelSettings(**given, transforms=(ONE, TYPES))).session.transform
    (remark,) = transform.facts.remarks()
    assert "1 of block 1" in remark
    transform.apply([0.0, *(gene.up for gene in transform.genes[1:])])
    assert all(weight.isfinite().all() for weight in transform.resident.model.parameters())


@pytest.mark.parametrize("memory", ["resident", "stream"])
def test_the_contract_is_kept_with_experts(joint, memory):
    check_transform(joint(memory=memory).session, pairs=3)


def test_streamed_values_are_the_same(joint):
    at_once, streamed = (joint(memory=memory).session for memory in ("resident", "stream"))
    rng, tokens = random.Random(1), at_once.texts.search.tokens
    for _ in range(4):
        genome = [float(rng.randint(0, int(gene.up))) for gene in at_once.transform.genes]
        for session in (at_once, streamed):
            session.transform.apply(genome)
        assert torch.equal(streamed.resident.model(tokens).logits, at_once.resident.model(tokens).logits)
        assert streamed.resident.removed_weights == at_once.resident.removed_weights
        left, right = at_once.transform.encoded(), streamed.transform.encoded()
        assert left.keys() == right.keys()
        assert all(numpy.array_equal(left[name].data, right[name].data) for name in left)
        again = streamed.transform.encode(at_once.resident.model, genome)
        assert {name: each.kind for name, each in again.items()} == {name: each.kind for name, each in left.items()}


def test_a_file_has_the_rows_of_gates_and_of_others_in_two_tensors(joint, tmp_path):
    session = joint(ONE, TYPES).session
    transform, model = session.transform, session.resident.model
    transform.apply([2.0, *(gene.up for gene in transform.genes[1:])])
    base = transform.form.file.base
    contents(model, base, transform.encoded()).write(tmp_path / "small.gguf")
    tensors = read_gguf(tmp_path / "small.gguf").tensors
    for block, layer in enumerate(model.model.layers):
        gate, up = layer.mlp.experts.gate_up_proj.chunk(2, dim=1)
        for name, weight in (("gate", gate), ("up", up), ("down", layer.mlp.experts.down_proj)):
            held = tensors[f"blk.{block}.ffn_{name}_exps.weight"]
            assert held.kind == "Q4_0"
            found = ggml.dequantize(held.data, held.kind, held.shape[-1]).reshape(held.shape)
            numpy.testing.assert_array_equal(found, weight.numpy())


@pytest.mark.parametrize("memory", ["resident", "stream"])
def test_a_quantised_mixture_keeps_its_bytes_and_those_of_the_experts_that_are_left(joint, tmp_path, memory):
    source, types = tmp_path / "source.gguf", {"use": "types", "types": [], "from_source": True}
    write_quantised(random_qwen3_moe(), source, "Q5_1")
    session = joint(ONE, types, model=str(source), memory=memory).session
    transform, model, before = session.transform, session.resident.model, read_gguf(source).tensors
    budget = transform.costs.budget("bytes", None)
    for level in (0, 2):
        genome = [float(level), *transform.dense[1:]]
        transform.apply(genome)
        contents(model, transform.form.file.base, transform.encoded()).write(tmp_path / "made.gguf")
        assert budget.spent(genome) == (tmp_path / "made.gguf").stat().st_size
        after = read_gguf(tmp_path / "made.gguf").tensors
        assert after.keys() == before.keys()
        for name, held in before.items():
            block = int(name.split(".")[1]) if "_exps" in name or "gate_inp" in name else None
            kept = slice(None) if block is None else transform.transforms[0].remaining(block, EXPERTS - level).numpy()
            shape = held.shape if block is None else (EXPERTS, -1)
            rows = held.data.reshape(shape[0], -1)[kept].reshape(-1)
            numpy.testing.assert_array_equal(after[name].data.reshape(-1), rows)
