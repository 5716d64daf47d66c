"""A computation that was interrupted goes on where it was, and ends with the same bits."""

import pytest
import torch

from evoprune.problems.language_model.calibration import gradients, tensor_cache
from evoprune.problems.language_model.calibration.sensitivity import sensitivity
from evoprune.problems.language_model.calibration.tensor_cache import Checkpoint, cached
from evoprune.problems.language_model.models.cache import entries
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.parts import Judge


@pytest.fixture(autouse=True)
def _at_each_step(monkeypatch):
    monkeypatch.setattr(tensor_cache, "_EVERY", 0.0)
    monkeypatch.setattr(tensor_cache, "_SHARE", 0.0)


@pytest.fixture
def resident(small):
    return Resident.load(ModelSettings(model=small["model"], dtype="float32", device="cpu"))


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
    sums = gradients.gather(model, tokens, matrices, gradients.NAMES)
    return {f"{matrix} {name}": each.contiguous() for matrix, of in sums.items() for name, each in of.items()}


def factors_of(model, tokens, matrices):
    found = sensitivity(model, tokens, matrices)
    return {f"{name} {number}": each for name, ((*pair,),) in found.items() for number, each in enumerate(pair)}


@pytest.fixture
def gathering(resident, tokens):
    """Gathers gradients as a kept result, interrupted after some windows; counts those that were run."""
    passes = Interrupted(resident.matrices[0].module)

    def gather(what, stop=None, made=gradients_of):
        def build():
            return made(resident.model, tokens, resident.matrices)

        passes.seen, passes.left = 0, stop
        try:
            return cached(resident, "gradients", [what], build), passes.seen
        except KeyboardInterrupt:
            return None, passes.seen
        finally:
            resident.model.requires_grad_(False)
            for matrix in resident.matrices:
                matrix.weight.grad = None

    return gather


def names():
    return [entry.about()["what"] for entry in entries()]


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


def test_what_is_made_for_no_kept_result_leaves_nothing():
    with pytest.raises(KeyboardInterrupt), Checkpoint("adding", 3) as so_far:
        so_far.step({"sum": torch.ones(2)})
        raise KeyboardInterrupt
    assert not entries()


def test_without_room_it_is_computed_from_the_start(gathering, monkeypatch):
    monkeypatch.setenv("EVOPRUNE_CACHE_GB", "1e-6")
    assert gathering("one", stop=2) == (None, 2)
    assert gathering("one")[1] == 5


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
