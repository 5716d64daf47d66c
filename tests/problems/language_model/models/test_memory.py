"""The memory that phases ask for: what does not fit is mapped, or refused before it is taken."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from evoprune import Stopped
from evoprune.backends.evaluation import this_worker
from evoprune.cli import main
from evoprune.problems.language_model.models import memory, resident
from evoprune.problems.language_model.models.cache import cache_folder
from evoprune.problems.language_model.models.device import keep_freed_memory
from evoprune.problems.language_model.models.load import copy_of
from evoprune.problems.language_model.models.memory import Placement, in_own_pages
from tests.problems.language_model.small import is_mapped, random_model, run_in
from tests.runs import lines

CPU = torch.device("cpu")


@pytest.fixture
def free(monkeypatch):
    """Sets the bytes that are free."""
    return lambda size: monkeypatch.setattr(memory, "free_memory", lambda _: size)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says how much a process holds")
def test_a_copy_in_its_own_pages_gives_them_back_though_the_heap_keeps_its_own():
    def held() -> int:
        return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024

    keep_freed_memory()
    given = torch.arange(2**25).bfloat16().view(2**10, 2**15)
    before = held()
    own = in_own_pages(given)
    assert own.dtype == given.dtype
    assert torch.equal(own, given)
    assert held() >= before + 0.9 * given.nbytes
    del own
    assert held() < before + 0.1 * given.nbytes
    assert in_own_pages(torch.empty(0, 3)).shape == (0, 3)


def test_tensors_are_in_memory_as_long_as_they_leave_enough_of_it(free):
    sizes = [0.0, 1e8, 4e8, 1.6e9, math.inf]
    found = []
    for size in sizes:
        free(size)
        found.append(Placement.of("a phase", CPU, 4e8).resident)
    assert found == sorted(found)
    assert (found[0], found[2], found[-1]) == (False, False, True)
    free(1.6e9)
    assert Placement.of("a phase", CPU, 4e8).resident
    assert not Placement.of("a phase", CPU, 4e8, 1e9).resident  # what cannot stream comes first


def test_what_cannot_be_streamed_is_refused_with_both_figures_and_a_remedy(free):
    free(1.25e9)
    Placement.of("a phase", CPU, 9e9, 1.2e9)
    with pytest.raises(Stopped) as refused:
        Placement.of("a phase", CPU, 0, 3.5e9, "set problem.key")
    assert refused.value.exit_code == 3
    assert re.findall(r"\d\.\d|a phase|problem\.key", str(refused.value)) == ["a phase", "3.5", "1.2", "problem.key"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_copy_without_room_is_mapped_and_the_same(free, architecture, dtype):
    model, tokens = random_model(architecture), torch.arange(8)[None]
    expected = copy_of(model, dtype)
    assert not any(map(is_mapped, expected.parameters()))
    free(0.0)
    found = copy_of(model, dtype)
    assert all(map(is_mapped, found.parameters()))
    assert torch.equal(found(input_ids=tokens).logits, expected(input_ids=tokens).logits)
    assert not any(cache_folder().glob("tmp*"))  # the file goes with the tensors


def test_copies_in_types_that_are_to_be_resident_need_room(free, problem_on, monkeypatch):
    types = {"use": "types", "types": ["Q4_0"], "importance": False}
    held = sum(matrix.weight.nbytes for matrix in problem_on("qwen2", types).session.resident.matrices)
    monkeypatch.setattr(resident, "streams", lambda *_: False)
    free(held)  # but not for the embedding and the head
    with pytest.raises(Stopped, match=r"the search .*problem\.memory"):
        problem_on("qwen2", types)


@pytest.fixture(scope="module")
def typed(byte_models, tmp_path_factory):
    """Runs a search of types whose result's scales are trained; returns its folder."""
    known = byte_models("qwen2")
    problem = known | {
        "use": "language_model", "transforms": {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False},
        "budget": {"use": "bytes", "removed": 0.5}, "recover": {
            "train": "scales", "text": known["calibration_text"]["source"], "part": [0.5, 1.0],
            "window": 32, "tokens": 256, "held_out": 2, "evaluations": 1, "rate": 1e-3,
        },
    }  # fmt: skip

    def run(name, code=0):
        this_worker.forget()  # it asked for its room before
        return run_in(tmp_path_factory.mktemp(name), problem, name=name, code=code)

    return run


@pytest.fixture(scope="module")
def expected(typed):
    """The outcome with all the room it asks for."""
    return outcome(typed("roomy"))


@pytest.fixture
def asked(monkeypatch):
    """Passes each question of a phase to a function that may change it first."""
    real = Placement.of.__func__

    def answer(change):
        def of(cls, phase, *given, **named):
            return real(cls, phase, *given, **named | (change(phase) or {}))

        monkeypatch.setattr(Placement, "of", classmethod(of))

    return answer


def outcome(run):
    found = json.loads((run / "result.json").read_text())
    return lines(run), found["perplexity"], load_file(run / "recovered.safetensors")


@pytest.mark.slow
def test_a_run_whose_tensors_have_no_room_ends_with_the_same_bits(typed, expected, asked):
    history, perplexity, weights = expected
    phases = []

    def nothing(phase):
        phases.append(phase)
        return {"share": 0.0}

    asked(nothing)
    found = outcome(typed("streamed"))
    assert {"the search", "scoring", "a copy", "training"} <= {*phases}
    assert found[:2] == (history, perplexity)
    assert found[2].keys() == weights.keys()
    assert all(torch.equal(found[2][name], weight) for name, weight in weights.items())


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["the search", "the report", "training"])
def test_a_phase_without_room_ends_the_run_with_code_3_which_goes_on_later(typed, expected, asked, free, capsys, phase):
    capsys.readouterr()
    asked(lambda now: free(0.0 if now == phase else math.inf))
    run = typed("refused", 3)
    told = capsys.readouterr().err.splitlines()[-1]
    assert phase in told
    assert len(re.findall(r"\d GB", told)) == 2
    free(math.inf)
    asked(lambda _: None)
    if run.exists():
        assert main(["resume", str(run), "--set", "problem.memory=stream"]) == 0
    else:  # nothing was recorded yet
        run = typed("refused")
    assert outcome(run)[:2] == expected[:2]
