"""Cached tensors are those that were computed, and are used for nothing else; an interrupted computation goes on."""

import resource
import sys

import pytest
import torch

from evoprune.problems.language_model.calibration import gradients, tensor_cache
from evoprune.problems.language_model.calibration.sensitivity import sensitivity
from evoprune.problems.language_model.calibration.tensor_cache import Checkpoint, cached, code
from evoprune.problems.language_model.models.cache import entries
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.parts import Judge
from tests.problems.language_model.small import random_model, save


def load(folder, **others):
    return Resident.load(ModelSettings(**{"model": str(folder), "dtype": "float32", "device": "cpu"} | others))


@pytest.fixture
def resident(small):
    return load(small["model"])


@pytest.fixture
def built():
    """A function that makes tensors, with a list of its calls."""

    def build():
        build.calls += 1
        return {"x": torch.arange(1000.0) / 3, "order": torch.arange(5), "half": torch.ones(2, 3, dtype=torch.bfloat16)}

    build.calls = 0
    return build


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


@pytest.mark.parametrize("pinned", [True, False])
def test_the_second_time_it_is_not_computed_and_is_the_same(resident, built, pinned):
    expected = built()
    assert same(cached(resident, "numbers", [1], built, pinned=pinned), expected)
    assert same(cached(resident, "numbers", [1], built, pinned=pinned), expected)
    assert built.calls == 2


@pytest.mark.parametrize("damage", ["cut off", "another bit", "no header", "empty"])
def test_a_damaged_file_is_computed_again(resident, built, damage):
    expected = built()
    cached(resident, "numbers", [], built)
    (entry,) = entries()
    content = bytearray(entry.path.read_bytes())
    if damage == "another bit":
        content[-100] ^= 1
    entry.path.write_bytes({"cut off": content[:-50], "no header": b"\xff" * 100, "empty": b""}.get(damage, content))
    for _ in range(2):
        assert same(cached(resident, "numbers", [], built), expected)
    assert built.calls == 3


def test_it_is_found_for_the_same_model_and_settings_alone(small, resident, built, tmp_path):
    moved = save(resident.model, tmp_path / "moved")
    cached(resident, "numbers", [1], built)
    cached(load(moved), "numbers", [1], built)
    assert built.calls == 1
    resident.model.config.layer_norm_epsilon *= 2
    others = [
        (load(small["model"]), "numbers", [2]),
        (load(small["model"]), "others", [1]),
        (load(small["model"], dtype="bfloat16"), "numbers", [1]),
        (load(save(random_model("gpt2", seed=5), tmp_path / "other")), "numbers", [1]),
        (resident, "numbers", [1]),
    ]
    for calls, (model, label, what) in enumerate(others, 2):
        cached(model, label, what, built)
        assert built.calls == calls


def test_another_number_of_threads_rounds_sums_differently(resident, built):
    threads = torch.get_num_threads()
    try:
        for number in (threads, threads + 1):
            torch.set_num_threads(number)
            cached(resident, "numbers", [], built)
    finally:
        torch.set_num_threads(threads)
    assert built.calls == 2


def test_other_code_is_another_result(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    hashes = set()
    for number in (1, 2):
        package = tmp_path / f"computing{number}"
        (package / "deep").mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "deep" / "helper.py").write_text(f"ANSWER = {number}")
        __import__(package.name)
        hashes |= {code(sys.modules[package.name]), code(sys.modules[package.name])}
    assert len(hashes) == 2


def test_where_nothing_can_be_written_nothing_is_kept_and_that_is_said_once(
    resident, built, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert same(cached(resident, "numbers", [], built), built())
    assert built.calls == 4
    assert capsys.readouterr().err.count("EVOPRUNE_CACHE") == 1


def test_a_full_disk_leaves_nothing_behind(resident, built, cache, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        found = [cached(resident, "numbers", [], built, pinned=pinned) for pinned in (False, True)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert all(same(tensors, built()) for tensors in found)
    assert capsys.readouterr().err.count("nothing is kept for later runs") == 1
    assert list(cache.iterdir()) == []


def test_beyond_the_limit_only_pinned_files_are_there_while_the_model_lives(small, built, monkeypatch):
    monkeypatch.setenv("EVOPRUNE_CACHE_GB", "0")
    first, second = (load(small["model"]) for _ in range(2))
    cached(first, "once", [], torch.nn.Linear(2, 2).state_dict, pinned=False)
    assert entries() == []
    tensors = cached(first, "numbers", [], built)
    cached(second, "numbers", [], built)
    assert built.calls == 1
    del first
    assert len(entries()) == 1
    del second
    assert entries() == []
    assert same(tensors, built())


@pytest.fixture
def at_each_step(monkeypatch):
    """Writes a checkpoint at each step."""
    monkeypatch.setattr(tensor_cache, "_INTERVAL", 0.0)
    monkeypatch.setattr(tensor_cache, "_TIMES", 0.0)


def names():
    return [entry.about()["what"] for entry in entries()]


class Interrupted:
    """Counts the windows that come to ``module``, and interrupts after so many more as are ``left``."""

    def __init__(self, module):
        self.seen, self.left = 0, None
        module.register_forward_pre_hook(self._see)

    def _see(self, *_):
        if not torch.is_grad_enabled():  # a trial before the windows
            return
        if self.left == 0:
            raise KeyboardInterrupt
        self.left = None if self.left is None else self.left - 1
        self.seen += 1


def gradients_of(model, tokens, matrices):
    return {name: each.contiguous() for name, each in gradients.gradient_squares(model, tokens, matrices).items()}


def factors_of(model, tokens, matrices):
    found = sensitivity(model, tokens, matrices)
    return {f"{name} {number}": each for name, ((*pair,),) in found.items() for number, each in enumerate(pair)}


@pytest.fixture
def gathering(resident, tokens, at_each_step):
    """Gathers gradients as a kept result, interrupted after some windows; counts those that were run."""
    passes = Interrupted(resident.matrices[0].module)

    def gather(what, stop=None, made=gradients_of):
        def build():
            return made(resident.model, tokens, resident.matrices)

        passes.seen, passes.left = 0, stop
        try:
            return cached(resident, "gradients", [what], build, pinned=False), passes.seen
        except KeyboardInterrupt:
            return None, passes.seen
        finally:
            resident.model.requires_grad_(False)
            for matrix in resident.matrices:
                matrix.weight.grad = None

    return gather


@pytest.mark.parametrize(
    ("made", "label"), [(gradients_of, "calibrating, gradients"), (factors_of, "measuring the sensitivity")]
)
def test_gradients_that_were_interrupted_go_on_and_are_the_same(gathering, capsys, made, label):
    whole, _ = gathering("whole", made=made)
    assert gathering("interrupted", stop=2, made=made) == (None, 2)
    assert f"unfinished: {label}, 2 of 5" in names()
    assert gathering("interrupted", stop=1, made=made) == (None, 1)
    found, seen = gathering("interrupted", made=made)
    assert seen == 2
    assert f"{label}: 3 of 5" in capsys.readouterr().err
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], whole[name]) for name in whole)
    assert names() == ["gradients", "gradients"]


def test_what_another_result_left_or_what_is_damaged_is_not_used(gathering):
    assert gathering("one", stop=2) == (None, 2)
    assert gathering("another", stop=4) == (None, 4)
    for entry in entries():
        entry.path.write_bytes(entry.path.read_bytes()[:-7])
    assert gathering("one")[1] == 5


@pytest.mark.usefixtures("at_each_step")
def test_what_is_made_for_no_kept_result_leaves_nothing():
    with pytest.raises(KeyboardInterrupt), Checkpoint("adding", 3) as so_far:
        so_far.step({"sum": torch.ones(2)})
        raise KeyboardInterrupt
    assert not entries()


def test_without_room_it_is_computed_from_the_start(gathering, monkeypatch):
    monkeypatch.setenv("EVOPRUNE_CACHE_GB", "1e-6")
    assert gathering("one", stop=2) == (None, 2)
    assert gathering("one")[1] == 5


@pytest.mark.usefixtures("at_each_step")
def test_a_reconstruction_that_was_interrupted_goes_on_and_is_the_same(pruning):
    problem = pruning(reconstruct="least_squares")
    genome, transform = [0.3, 0.5, 0.4], problem.session.transform.transforms[0]
    expected = Judge(problem).judge(genome)
    for entry in entries():
        if entry.about()["what"].startswith("updated weights"):
            entry.path.unlink()
    first = next(matrix.module for matrix in transform.matrices if matrix.block == 2)

    def interrupt(*_):
        raise KeyboardInterrupt

    handle = first.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        transform.finalise(genome)
    handle.remove()
    assert "unfinished: reconstructing, 2 of 3" in names()
    assert Judge(pruning(reconstruct="least_squares")).judge(genome) == expected
    assert not [name for name in names() if name.startswith("unfinished")]
