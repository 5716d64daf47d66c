"""The check of an export format passes one that writes the final model, and finds what is wrong with others."""

import numpy
import pytest

from evoprune import Exported
from evoprune.api import Run
from problems.export.format import ExportFormat
from problems.testing import check_format


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
        return self.final.reside().model


class Restless(Npz):
    """It writes other bytes each time."""

    def model(self):
        model = super().model()
        next(model.parameters()).add_(numpy.random.default_rng().normal())
        return model


def test_a_format_that_writes_the_final_model_keeps_the_contract(run_on, tmp_path):
    check_format(Npz, Run.open(run_on("gpt2")), tmp_path / "model.npz")


@pytest.mark.parametrize(("kind", "message"), [(Forgetful, "recovered"), (Restless, "other bytes")])
def test_formats_that_break_the_contract_are_found(run_on, tmp_path, kind, message):
    with pytest.raises(AssertionError, match=message):
        check_format(kind, Run.open(run_on("gpt2")), tmp_path / "model.npz")
