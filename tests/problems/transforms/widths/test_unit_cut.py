"""Narrower sublayers give what the dense ones give with zeros, and cost what is counted."""

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from evoprune import InputError
from evoprune.files.cache import clear
from problems.calibration import checkpoint as unfinished
from problems.calibration.statistics import statistics
from problems.models.blocks import find_blocks
from problems.testing.transforms import check_transform
from problems.transforms.weights.scoring import Scoring
from tests.problems.small import ARCHITECTURES, problem_in
from tests.problems.transforms.widths.slow import ALL, CUTS, budget_of, cut_of, masked, middle


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("architecture", ALL)
def test_a_narrow_model_gives_what_the_dense_one_gives_with_zeros(architecture, cut, tokens):
    transform = cut_of(architecture, cut, drop=cut == "heads")
    model = transform.resident.model
    genome = middle(transform)
    left = [int(gene.levels[int(level)]) for gene, level in zip(transform.genes, genome, strict=True)]
    group = transform.size(transform._units[0])
    expected = masked(model, architecture, cut, [count // group for count in left])(tokens).logits
    dense = model(tokens).logits
    transform.apply(genome)
    found = model(tokens).logits
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (found - dense).abs().max() > 1e-3 * dense.abs().max()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_contract_is_kept_by_each_architecture(language_model, cut, architecture, tmp_path):
    check_transform(language_model(**problem_in(tmp_path, architecture), transforms=cut).session, pairs=2)


@pytest.mark.parametrize("cut", CUTS)
def test_the_contract_is_kept_with_statistics_and_compensation(language_model, cut):
    given = {"use": cut, "score": "wanda", "compensate": True, "keep": [0], "drop": False}
    check_transform(language_model(transforms=given).session, pairs=2)


@pytest.mark.parametrize("score", ["gblm", "structured_obs"])
@pytest.mark.parametrize("cut", CUTS)
def test_what_is_kept_is_what_is_computed(language_model, monkeypatch, cut, score):
    def narrowed():
        session = language_model(transforms={"use": cut, "score": score, "compensate": True}).session
        session.transform.apply(middle(session.transform))
        return session.resident.model.state_dict()

    def again(*_):
        raise AssertionError("computed again")

    computed = narrowed()
    for name in ("widths.unit_cut.statistics", "weights.scoring.statistics"):
        monkeypatch.setattr(f"problems.transforms.{name}", again)
    kept = narrowed()
    assert kept.keys() == computed.keys()
    assert all(torch.equal(kept[name], computed[name]) for name in kept)


@pytest.mark.parametrize("cut", CUTS)
def test_statistics_that_were_interrupted_go_on_whatever_came_before_them(language_model, monkeypatch, cut):
    def stored():
        return language_model(transforms={"use": cut, "score": "wanda", "compensate": True}).session.transform._stored

    def interrupted(*given):
        for count, each in enumerate(whole(*given)):
            if count == 4:
                raise KeyboardInterrupt
            yield each

    monkeypatch.setattr(unfinished, "_EVERY", 0.0)
    monkeypatch.setattr(unfinished, "_SHARE", 0.0)
    whole = Scoring.scored
    with monkeypatch.context() as patch:
        patch.setattr(Scoring, "scored", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stored()
    found = stored()
    clear()
    anew = stored()
    assert found.keys() == anew.keys()
    assert all(torch.equal(found[name], anew[name]) for name in found)


@pytest.mark.parametrize("cut", CUTS)
def test_a_candidate_that_fails_leaves_the_model_as_it_was(language_model, monkeypatch, cut, tokens):
    transform = language_model(transforms={"use": cut, "compensate": True}).session.transform
    model, last = transform.resident.model, float(len(transform.genes[0].levels) - 1)
    dropped, narrow = [last, 0.0, 0.0], [1.0, 1.0, 0.0]
    transform.apply(dropped)
    expected = model(tokens).logits

    def fails(*_):
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr("problems.transforms.widths.unit_cut.refitted", fails)
        with pytest.raises(RuntimeError):
            transform.apply(narrow)
    transform.apply(dropped)
    assert torch.equal(model(tokens).logits, expected)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("architecture", ALL)
def test_parameters_are_those_that_the_model_has(architecture, cut):
    transform = cut_of(architecture, cut)
    budget = budget_of(transform, "parameters")
    lasts = [float(len(gene.levels) - 1) for gene in transform.genes]
    for genome in (transform.dense, middle(transform), [lasts[0], 1.0, 0.0], lasts):
        transform.apply(genome)
        assert budget.spent(genome) == sum(p.numel() for p in transform.resident.model.parameters())


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("architecture", ALL)
def test_a_narrower_candidate_multiplies_less(architecture, cut, tokens):
    transform = cut_of(architecture, cut)
    products = []
    for layer in find_blocks(transform.resident.model)[1].modules():
        if isinstance(layer, (torch.nn.Linear, Conv1D)):
            layer.register_forward_hook(
                lambda layer, given, output: products.append(given[0][..., 0].numel() * layer.weight.numel())
            )
    budget = budget_of(transform, "weights")
    for genome in (
        transform.dense,
        [1.0, 0.0, 0.0],
        middle(transform),
        [float(len(g.levels) - 1) for g in transform.genes],
    ):
        products.clear()
        transform.apply(genome)
        transform.resident.model(tokens)
        assert sum(products) == tokens.numel() * budget.spent(genome)


@pytest.mark.parametrize("cut", CUTS)
def test_the_dense_genome_puts_the_loaded_parameters_back(cut):
    transform = cut_of("gpt_neox", cut)
    model = transform.resident.model
    before = {name: (id(p), p.data_ptr()) for name, p in model.named_parameters()}
    numbers = [{k: v for k, v in vars(m).items() if isinstance(v, int)} for m in model.modules()]
    for genome in (middle(transform), [float(len(gene.levels) - 1) for gene in transform.genes], transform.dense):
        transform.apply(genome)
    assert {name: (id(p), p.data_ptr()) for name, p in model.named_parameters()} == before
    assert [{k: v for k, v in vars(m).items() if isinstance(v, int)} for m in model.modules()] == numbers


@pytest.mark.parametrize("cut", CUTS)
def test_only_blocks_whose_level_changed_are_written(cut):
    transform = cut_of("llama", cut)
    transform.apply([1.0, 1.0, 0.0])
    before = [{id(p) for p in block.parameters()} for block in transform._blocks]
    transform.apply([1.0, 0.0, 0.0])
    after = [{id(p) for p in block.parameters()} for block in transform._blocks]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]
    assert transform.marks() == [1, 0, 0]


@pytest.mark.parametrize("cut", CUTS)
def test_blocks_may_be_protected_and_sublayers_never_dropped(cut):
    transform = cut_of("gpt2", cut, keep=(0, -1), drop=False)
    assert transform.genes.free == [1]
    assert transform.genes[1].levels[-1] == {"channels": 32, "heads": 1}[cut]
    with pytest.raises(InputError, match=f"no block has {cut} that may be left out"):
        cut_of("gpt2", cut, keep=(0, 1, 2))
    with pytest.raises(InputError, match="there is no block 7"):
        cut_of("gpt2", cut, keep=(7,))
    with pytest.raises(InputError, match="counts in weights, parameters, attention width, not in 'bytes'"):
        transform.prices("bytes")


@pytest.mark.parametrize("cut", CUTS)
def test_compensation_brings_the_outputs_of_each_sublayer_nearer(language_model, cut):
    """On the calibration text, given the inputs that the dense model gives: the sum of squares, block by block."""
    errors = {}
    for compensate in (False, True):
        transform = language_model(transforms={"use": cut, "compensate": compensate}).session.transform
        model, outputs = transform.resident.model, [units.output.matrix for units in transform._units]
        whole = [matrix.rows(matrix.weight).clone() for matrix in outputs]
        tokens = transform.texts.calibration.tokens
        grams = [known["gram"] for _, known in statistics(model, tokens, outputs, {"gram"})]
        transform.apply([2.0] * 3)
        errors[compensate] = []
        for block, (matrix, weight, gram) in enumerate(zip(outputs, whole, grams, strict=True)):
            left = transform._left[block][2]
            missing = weight.clone()
            columns = transform._units[block].output.places[transform.kept(block, left)].flatten()
            missing[:, columns] -= matrix.rows(matrix.weight)
            errors[compensate].append(float((missing @ gram * missing).sum()))
    assert all(with_it < 0.95 * without for with_it, without in zip(errors[True], errors[False], strict=True))


@pytest.mark.parametrize("cut", CUTS)
def test_one_gene_for_all_blocks_gives_what_equal_genes_give(cut):
    one, each = (cut_of("llama", cut, genes=genes, keep=[0]) for genes in ("model", "block"))
    (gene,) = one.genes
    assert (gene.name, gene.group, gene.levels) == (cut, "", each.genes[1].levels)
    for level in range(len(gene.levels)):
        same = [0.0, float(level), float(level)]
        one.apply([float(level)])
        each.apply(same)
        found, expected = (transform.resident.model.state_dict() for transform in (one, each))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)
        assert one.marks() == each.marks()
        assert one.inputs_left([float(level)]).keys() == each.inputs_left(same).keys()
        for unit in ("weights", "parameters"):
            assert budget_of(one, unit).spent([float(level)]) == budget_of(each, unit).spent(same)


def test_one_gene_for_all_blocks_that_are_protected_is_refused():
    with pytest.raises(InputError, match="no block has channels that may be left out"):
        cut_of("llama", "channels", genes="model", keep=[0, 1, 2])


@pytest.mark.parametrize("cut", CUTS)
def test_inputs_that_are_left_are_the_columns_of_what_stays(cut):
    transform = cut_of("gpt2", cut, drop=True)
    last = transform.genes[0].up
    left = transform.inputs_left([1.0, 0.0, last])
    (name,) = left
    (output,) = [units.output for units in transform._units if units.output.matrix.name == name]
    whole = output.matrix.rows(output.matrix.weight).clone()
    transform.apply([1.0, 0.0, last])
    assert output.matrix.block == 0
    assert torch.equal(output.matrix.rows(output.matrix.weight), whole[:, left[name]])
