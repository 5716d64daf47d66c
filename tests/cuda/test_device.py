"""Laws of a session on a CUDA device."""

import random

import pytest
import torch

from evoprune.problems.language_model.calibration.statistics import INPUT_NORMS, statistics
from evoprune.problems.language_model.evaluation.measure import Perplexity
from evoprune.problems.language_model.models.blocks import find_mixtures
from evoprune.problems.language_model.models.forward import Forward, predictions
from evoprune.problems.language_model.models.lazy_weights import is_offloaded, set_execution_device
from evoprune.problems.language_model.models.throughput import Load, timer
from evoprune.problems.language_model.problem import LanguageModel, Pruning
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.settings import LanguageModelSettings, PruningSettings
from tests.cuda.conftest import REAL
from tests.problems.language_model.mixtures import random_mixture
from tests.problems.language_model.small import BLOCKS

UNIFORM = [0.3] * BLOCKS


@pytest.fixture
def problem(small):
    """Makes the problem of pruning a tiny model."""
    return lambda device="cuda", **others: Pruning(PruningSettings(**small | {"device": device} | others))


def relatives(seed, pairs):
    """Parents, each followed by a child that differs in some blocks."""
    rng = random.Random(seed)
    for _ in range(pairs):
        parent = [rng.uniform(0.1, 0.5) for _ in range(BLOCKS)]
        child = list(parent)
        for gene in rng.sample(range(BLOCKS), rng.randint(1, 2)):
            child[gene] = rng.uniform(0.1, 0.5)
        yield from (parent, child)


@pytest.mark.parametrize("others", [{}, {"objective": "kl"}, {"score": "gblm"}])
def test_float32_agrees_with_the_cpu(problem, others):
    on_device, on_cpu = (problem(device, **others) for device in ("cuda", "cpu"))
    for genome in (UNIFORM, *relatives(0, 2)):
        assert on_device.evaluate(genome).values[0] == pytest.approx(on_cpu.evaluate(genome).values[0], rel=1e-3)
    counts = [sum(matrix.zeros for matrix in each.session.resident.matrices) for each in (on_device, on_cpu)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reuse_changes_no_result(problem, dtype):
    reusing, plain = problem(dtype=dtype), problem(dtype=dtype, reuse_mib=0)
    for genome in relatives(1, 4):
        assert reusing.evaluate(genome).values == plain.evaluate(genome).values
    assert reusing.session.fitness._states.bytes > 0


def test_all_that_a_session_holds_is_on_the_device(problem):
    on_device = problem()
    on_device.evaluate(UNIFORM)
    model = on_device.session.resident.model
    assert on_device.session.protocol()["device"] == f"cuda:0 ({torch.cuda.get_device_name(0)})"
    held = [*model.parameters(), *model.buffers(), *on_device.session.transform.transforms[0].masks._stored.values()]
    held += on_device.session.fitness._states._states.values()
    assert {tensor.device for tensor in held} == {torch.device("cuda:0")}


def test_running_out_of_memory_halves_the_batch(problem):
    whole = problem(batch_tokens=2 * 32)
    value = whole.evaluate(UNIFORM).values[0]
    fitness, perplexity = whole.session.fitness, Perplexity()

    def hungry(logits, targets, first):
        if fitness.measure.batch_tokens > 32:
            torch.empty(2**50, device="cuda")
        return perplexity.add(logits, targets, first)

    tokens = whole.session.texts.search.tokens
    fitness._states.set_candidate(whole.session.transform.block_fingerprints())
    total = fitness.measure.total(tokens, hungry, fitness._states)
    assert fitness.measure.batch_tokens == 32
    assert perplexity.value(total, predictions(tokens)) == pytest.approx(value, rel=1e-4)


def test_two_problems_on_one_device_do_not_disturb_each_other(problem):
    genomes = list(relatives(2, 3))
    alone = [problem().evaluate(genome).values for genome in genomes]
    first, second = problem(), problem()
    for genome, other, value in zip(genomes, reversed(genomes), alone, strict=True):
        second.evaluate(other)
        assert first.evaluate(genome).values == value


def test_weights_that_are_copied_for_each_block_give_the_same_scores(problem):
    copied, on_device = problem(memory="stream"), problem()
    assert copied.session.resident.device.type == "cpu"
    for genome in relatives(3, 2):
        assert copied.evaluate(genome).values == on_device.evaluate(genome).values
    genomes = list(relatives(4, 2))
    together = copied.evaluate_batch(genomes, 1.0)
    assert [each.values for each in together] == [on_device.evaluate(genome).values for genome in genomes]


def test_passes_with_copied_weights_are_timed_on_the_device(problem, monkeypatch):
    session, waited = problem(memory="stream").session, []
    load = Load("decode", length=8)
    assert session.transform.costs.timer(load).circumstances()["device"] == "cuda"
    run = timer(session.resident.model, load)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: waited.append(device.type))
    run()
    assert waited == ["cuda", "cuda"]


def test_statistics_of_experts_are_those_of_the_cpu_if_their_weights_are_copied(tokens):
    model = random_mixture("mixtral", blocks=1)
    stacks = [stack for mixture in find_mixtures(model) for stack in mixture.stacks]
    expected = [norms for _, norms in statistics(model, tokens, stacks, {INPUT_NORMS})]
    set_execution_device(model, torch.device("cuda:0"))
    for (_, norms), known in zip(statistics(model, tokens, stacks, {INPUT_NORMS}), expected, strict=True):
        torch.testing.assert_close(norms[INPUT_NORMS], known[INPUT_NORMS])
    assert is_offloaded(model)


@pytest.mark.skipif(REAL, reason="the simulation detects it")
def test_a_stream_that_does_not_wait_for_copied_weights_is_detected(problem, monkeypatch):
    copied = problem(memory="stream")
    monkeypatch.setattr(torch.cuda.Stream, "wait_stream", lambda *_: None)
    with pytest.raises(RuntimeError, match="waited"):
        copied.evaluate_batch(list(relatives(4, 1)), 1.0)


def test_a_copy_on_the_cpu_is_rounded_to_the_bytes_of_the_source(byte_models, tmp_path):
    """As after a recovery that trains all weights."""
    given = byte_models("llama")
    from tests.problems.language_model.gguf.models import random_llama, write_quantised  # needs an optional package

    source = write_quantised(random_llama(blocks=4), tmp_path / "tiny.gguf", "Q5_1")
    types = {"use": "types", "types": [], "from_source": True}
    given = given | {"model": str(source), "transforms": types, "device": "cuda"}
    session = LanguageModel(LanguageModelSettings(**given)).session
    final = FinalModel(session, session.transform.dense)
    model, encoded = final.copy()
    rounded = final.round(model)
    assert rounded.keys() == encoded.keys()
    assert all((rounded[name].data == own.data).all() for name, own in encoded.items())


def test_a_recovered_model_is_measured_on_the_device(byte_models, tmp_path, monkeypatch):
    given = byte_models("llama")
    from evoprune.problems.language_model.gguf.export import format as gguf
    from evoprune.problems.language_model.gguf.export import writer

    given = given | {"transforms": "sublayers", "device": "cuda"}
    session, devices = LanguageModel(LanguageModelSettings(**given)).session, []
    norms = {name: each.cpu() for name, each in session.resident.model.named_parameters() if each.dim() == 1}
    made = gguf.GgufFormat(FinalModel(session, session.transform.dense, norms), gguf.GgufFormat.Options())
    monkeypatch.setattr(writer, "Forward", lambda model: devices.append(model.device) or Forward(model))
    monkeypatch.setattr(gguf.GgufFormat, "facts", lambda *_: {})
    made._writer._write(None, made._writer.base(), tmp_path / "small.gguf")
    assert devices == [torch.device("cuda:0")]
