"""What must hold on a CUDA device, on the bundled model."""

import random

import pytest
import torch

from problems.pruning import protocol
from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.evaluation.measure import Measure
from problems.pruning.evaluation.states import prefix_names
from problems.pruning.model.device import pick_dtype
from problems.pruning.settings import PruningSettings
from problems.pruning.statistics import gradients

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here"),
]
UNIFORM = [0.3] * 12


def evaluator(device="cuda", dtype="float32", **others):
    return Evaluator(PruningSettings(device=device, dtype=dtype, **others))


def relatives(seed, pairs):
    """Parents, each followed by a child that differs in some blocks."""
    rng = random.Random(seed)
    for _ in range(pairs):
        parent = [rng.uniform(0.1, 0.5) for _ in range(12)]
        child = list(parent)
        for gene in rng.sample(range(12), rng.randint(1, 6)):
            child[gene] = rng.uniform(0.1, 0.5)
        yield from (parent, child)


@pytest.mark.parametrize("objective", ["perplexity", "kl"])
def test_float32_agrees_with_the_cpu(objective):
    on_device, on_cpu = (evaluator(device, objective=objective) for device in ("cuda", "cpu"))
    for genome in (UNIFORM, *relatives(0, 2)):
        assert on_device.evaluate(genome).values[0] == pytest.approx(on_cpu.evaluate(genome).values[0], rel=1e-4)
    assert on_device.masks.zeros() == on_cpu.masks.zeros()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reuse_changes_no_result(dtype):
    reusing, plain = evaluator(dtype=dtype), evaluator(dtype=dtype, reuse_mib=0)
    for genome in relatives(1, 20):
        assert reusing.evaluate(genome).values == plain.evaluate(genome).values
    assert reusing._states.bytes > 0


def test_the_protocol_names_the_card():
    assert protocol.of_pruned(evaluator())["device"] == f"cuda:0 ({torch.cuda.get_device_name(0)})"


def test_all_that_an_evaluator_holds_is_on_the_device():
    on_device = evaluator()
    on_device.evaluate(UNIFORM)
    held = [*on_device.model.parameters(), *on_device.model.buffers(), *on_device.masks._stored.values()]
    held += [entry.state for entry in on_device._states._entries.values()]
    assert {tensor.device for tensor in held} == {torch.device("cuda:0")}


def test_running_out_of_memory_halves_the_batch():
    whole = evaluator(batch_tokens=16 * 256)
    value = whole.evaluate(UNIFORM).values[0]

    def hungry(logits, targets, first):
        if whole.measure.batch_tokens > 4 * 256:
            torch.empty(2**50, device="cuda")
        return whole.objective.add(logits, targets, first)

    tokens = whole.search.tokens
    total = whole.measure.total(tokens, hungry, whole._states, prefix_names(whole.masks.block_cuts()))
    assert whole.measure.batch_tokens == 4 * 256
    assert whole.objective.value(total, whole.search.predictions) == pytest.approx(value, rel=1e-4)


def test_the_batch_is_chosen_from_the_memory_that_is_free():
    on_device = evaluator()
    fitting = on_device.measure.batch_tokens
    free, _ = torch.cuda.mem_get_info()
    blocker = torch.empty(free - 2**28, dtype=torch.uint8, device="cuda")
    assert 1 <= Measure(on_device._forward, None).batch_tokens < fitting
    del blocker
    torch.cuda.empty_cache()


def test_gradients_are_the_same_each_time():
    on_device = evaluator(dtype="bfloat16", score="gblm")
    matrices, tokens = on_device.matrices, on_device.calibration.tokens
    once, again = (gradients.gather(on_device.model, tokens, matrices, gradients.NAMES) for _ in range(2))
    assert all(torch.equal(once[m.name][name], again[m.name][name]) for m in matrices for name in gradients.NAMES)


def test_auto_is_bfloat16_where_the_device_has_units_for_it():
    device = torch.device("cuda")
    fast = torch.cuda.get_device_capability(device) >= (8, 0)
    assert pick_dtype("auto", device) == (torch.bfloat16 if fast else torch.float32)


def test_two_evaluators_on_one_device_do_not_disturb_each_other():
    genomes = list(relatives(2, 3))
    alone = [evaluator().evaluate(genome).values for genome in genomes]
    first, second = evaluator(), evaluator()
    for genome, other, value in zip(genomes, reversed(genomes), alone, strict=True):
        second.evaluate(other)
        assert first.evaluate(genome).values == value
