"""Each check of a contract passes a plugin that keeps it, and finds what is wrong with others."""

import numpy
import pytest
import torch

from evoprune import Exported
from evoprune.api import Run
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.export.format import ExportFormat
from evoprune.problems.language_model.testing import check_format, check_transform
from evoprune.problems.language_model.transforms.weights.transform import Weights


@pytest.mark.parametrize("given", [{"use": "weights", "genes": "block_and_kind"}, {"use": "sublayers"}])
def test_our_transforms_keep_the_contract(language_model, given):
    check_transform(language_model(transforms=given).session, pairs=3)


class Blind(Weights):
    """Its fingerprints say nothing, so that any candidate starts from any other's states."""

    def block_fingerprints(self):
        return [0] * 3


class Drifting(Weights):
    """Each genome leaves something behind."""

    def apply(self, genome):
        super().apply(genome)
        with torch.no_grad():
            self.matrices[0].weight[0, 0] += 0.1


class Cheating(Weights):
    """It counts half of what it removes."""

    def prices(self, unit):
        prices, fixed = super().prices(unit)
        return [price / 2 for price in prices], fixed


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Blind, "changed, but its fingerprint did not"),
        (Drifting, "the same genome gives another model"),
        (Cheating, "the budget counts"),
    ],
)
def test_what_breaks_the_contract_is_found(pruning, kind, message):
    settings = pruning().settings
    session = Session.start(settings, [(kind, settings)])
    with pytest.raises(AssertionError, match=message):
        check_transform(session, pairs=2)


class Npz(ExportFormat):
    """All parameters, as numpy saves them."""

    def write(self, run, place):
        model = self.model()
        numpy.savez(place, **{name: weight.numpy() for name, weight in model.named_parameters()})
        return Exported(self.facts(run, model, [place]), [], [])

    def model(self):
        return self.final.copy().model


class Forgetful(Npz):
    """It writes the model before its recovery."""

    def model(self):
        return self.final.make_resident().model


class Restless(Npz):
    """It writes other bytes each time."""

    def model(self):
        model = super().model()
        next(model.parameters()).add_(numpy.random.default_rng().normal())
        return model


@pytest.mark.parametrize(("kind", "message"), [(Forgetful, "recovered"), (Restless, "other bytes")])
def test_formats_that_break_the_contract_are_found(run_on, tmp_path, kind, message):
    with pytest.raises(AssertionError, match=message):
        check_format(kind, Run.open(run_on("gpt2")), tmp_path / "model.npz")
