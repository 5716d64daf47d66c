import pytest

from evoprune.problems.language_model.models.blocks import find_blocks
from evoprune.problems.language_model.models.sublayers import find_sublayers, set_dropped
from evoprune.problems.language_model.models.throughput import Load, throughputs, timer


@pytest.fixture
def passes(model):
    """The tokens of each pass of the model, and the number of tokens in its cache before it."""
    seen = []

    def note(_, __, given):
        cache = given.get("cache", given.get("past_key_values"))
        if cache is not None:
            seen.append((tuple(given["input_ids"].shape), cache.get_seq_length()))

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    yield seen
    handle.remove()


def test_prefill_processes_all_tokens_at_once(model, passes):
    run = timer(model, Load("prefill", batch=2, length=16))
    assert run() > 0
    assert passes == [((2, 16), 0)]


@pytest.mark.parametrize("dropped", [False, True])
def test_each_pass_of_decode_processes_one_token_after_as_many_others(model, passes, dropped):
    """Also without the first attention, whose cache counts them."""
    set_dropped(find_blocks(model)[1][0], find_sublayers(model)[0], dropped)
    run = timer(model, Load("decode", batch=2, length=16))
    for _ in range(3):
        run()
    assert passes[1:] == [((2, 1), 16)] * 3


def test_models_are_timed_in_turn(model, passes):
    found = throughputs([model, model], Load("prefill", batch=2, length=16), seconds=0)
    assert len(found) == 2
    assert min(found) > 0
    assert passes == [((2, 16), 0)] * 4  # each once to warm up, and once


def test_more_tokens_than_positions_are_refused(model):
    timer(model, Load("prefill", length=64))
    with pytest.raises(ValueError, match="65 positions"):
        timer(model, Load("decode", length=64))
