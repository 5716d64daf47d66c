"""Scores that read statistics are summed over a unit, as a slow loop does it."""

import pytest
import torch

from problems.calibration.linear_algebra import DAMPING
from problems.transforms.widths.refit import best_first
from tests.problems.small import inputs_of
from tests.problems.transforms.widths.slow import CUTS, parts_of


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


@pytest.mark.parametrize("cut", CUTS)
def test_genes_know_in_proportion_what_outputs_lose_where_the_rest_makes_up_for_it(language_model, cut):
    transform = language_model(transforms={"use": cut, "score": "wanda", "compensate": True}).session.transform
    inputs = inputs_of(transform.resident.model, transform.texts.calibration.tokens)
    for block, (gene, units) in enumerate(zip(transform.genes, transform._units, strict=True)):
        output, places = units.output.matrix, units.output.places
        known = torch.from_numpy(inputs[output.name]).double()
        root = (DAMPING * known.square().mean() * len(known)).sqrt()
        known = torch.cat([known, root * torch.eye(known.shape[1], dtype=torch.float64)])
        wanted = known @ output.rows(output.weight).T.double()
        assert gene.harms[-1] is None
        for level, count in enumerate(gene.levels[:-1]):
            left = known[:, places[transform.kept(block, count // transform.size(units))].flatten()]
            error = (wanted - left @ torch.linalg.lstsq(left, wanted).solution).square().sum() / len(
                inputs[output.name]
            )
            assert gene.harms[level] == pytest.approx(float(error), rel=1e-3, abs=1e-3 * gene.harms[-2])


@pytest.mark.parametrize("cut", CUTS)
def test_without_a_refit_no_gene_knows_what_its_levels_lose(language_model, cut):
    genes = language_model(transforms={"use": cut, "score": "structured_obs"}).session.transform.genes
    assert not any(gene.harms for gene in genes)
