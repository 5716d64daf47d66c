"""Scores that read statistics are summed over a unit, as a slow loop does it."""

import pytest
import torch

from problems.pruning.cuts.units.structured_obs import best_first
from tests.problems.pruning.cuts.units.slow import CUTS, parts_of
from tests.problems.small import inputs_of


@pytest.mark.parametrize("cut", CUTS)
def test_units_are_ranked_by_the_sum_of_wanda_over_their_weights(language_model, cut):
    transform = language_model(transforms={"use": cut, "score": "wanda"}).session.transform
    model = transform.resident.model
    inputs = inputs_of(model, transform.texts.calibration.tokens)
    for block, units in enumerate(transform._units):
        sums = []
        for unit in range(units.count):
            total = 0.0
            for name, axis, at in parts_of("gpt2", cut, unit):
                layer = f"transformer.h.{block}.{name}"
                norms = torch.from_numpy((inputs[layer] ** 2).sum(0) ** 0.5)
                scores = model.get_submodule(layer).weight.T.abs().double() * norms
                total += float((scores if axis == "rows" else scores.T)[list(at)].sum())
            sums.append(total)
        expected = sorted(range(units.count), key=lambda unit: -sums[unit])
        half = units.count // 2
        assert transform.kept(block, half).tolist() == sorted(expected[:half])


@pytest.mark.parametrize("cut", CUTS)
def test_the_structured_order_is_that_of_the_output_matrix_on_the_calibration_text(language_model, cut):
    transform = language_model(transforms={"use": cut, "score": "structured_obs"}).session.transform
    model = transform.resident.model
    inputs = inputs_of(model, transform.texts.calibration.tokens)
    for block, units in enumerate(transform._units):
        output = units.output.matrix
        known = torch.from_numpy(inputs[output.name]).double()
        order = best_first(output.rows(output.weight), known.T @ known / len(known), units.output.places)
        half = units.count // 2
        assert transform.kept(block, half).tolist() == sorted(order[:half].tolist())
