"""What is timed is what the name says: how many tokens, after how many others, of which model."""

import subprocess
import sys

import pytest
import torch

from problems.models.blocks import attentions_numbered, find_blocks
from problems.models.fresh_process import environment
from problems.models.sublayers import find_sublayers, set_dropped
from problems.models.throughput import Load, peak_bytes, throughputs, timer


@pytest.fixture
def passes(model):
    """The tokens of each pass of the model, and how many others its cache held before it."""
    seen = []

    def note(_, __, given):
        cache = given["cache"] if "cache" in given else given["past_key_values"]
        seen.append((tuple(given["input_ids"].shape), cache.get_seq_length()))

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    yield seen
    handle.remove()


@pytest.fixture
def without_first_attention(model):
    """The model without the attention of its first block."""
    set_dropped(find_blocks(model)[1][0], find_sublayers(model)[0], dropped=True)
    return model


def test_prefill_processes_all_tokens_at_once(model, passes):
    run = timer(model, Load("prefill", batch=2, length=16))
    assert run() > 0
    assert passes == [((2, 16), 0)]


def test_each_pass_of_decode_processes_one_token_after_as_many_others(model, passes):
    run = timer(model, Load("decode", batch=2, length=16))
    for _ in range(3):
        run()
    assert passes[1:] == [((2, 1), 16)] * 3


def test_decode_keeps_count_where_the_first_attention_is_gone(without_first_attention, passes):
    timer(without_first_attention, Load("decode", length=16))()
    assert passes[1:] == [((1, 1), 16)]


def test_a_numbered_model_continues_as_without_a_cache(without_first_attention, tokens):
    model, given = without_first_attention, {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    numbers = [m.layer_idx for m in model.modules() if hasattr(m, "layer_idx")]
    with attentions_numbered(model):
        with_cache, without = (model.generate(tokens[:1, :6], use_cache=use, **given) for use in (True, False))
    assert torch.equal(with_cache, without)
    assert [m.layer_idx for m in model.modules() if hasattr(m, "layer_idx")] == numbers


def test_models_are_timed_in_turn(model, passes):
    found = throughputs([model, model], Load("prefill", batch=2, length=16), seconds=0)
    assert len(found) == 2
    assert min(found) > 0
    assert passes == [((2, 16), 0)] * 4  # each once to warm up, and once


def test_more_tokens_than_positions_are_refused(model):
    timer(model, Load("prefill", length=64))
    with pytest.raises(ValueError, match="decode needs 65 positions, the model has 64"):
        timer(model, Load("decode", length=64))


@pytest.mark.slow
def test_memory_is_that_of_the_process_itself():
    held = torch.ones(2**27)  # 512 MiB, which a process that is started now has nothing of
    code = "import torch; from problems.models.throughput import peak_bytes; print(peak_bytes(torch.device('cpu')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert 0 < int(found.stdout) < peak_bytes(held.device) - held.nbytes / 2
