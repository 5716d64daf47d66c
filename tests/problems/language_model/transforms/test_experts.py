"""The transform ``experts``: its contract, its order, its limits, and exports that load again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import evoprune
from evoprune import InputError
from evoprune.api import Run
from evoprune.cli import main
from evoprune.problems.language_model.calibration.statistics import INPUT_NORMS, statistics
from evoprune.problems.language_model.models.blocks import ExpertStack, find_mixtures
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.problems.language_model.testing import check_transform
from evoprune.problems.language_model.transforms.stack import uniform_share
from tests.problems.language_model.mixtures import ACTIVE, EXPERTS, LAYOUTS, masked, mixture_in, random_mixture, routed
from tests.problems.language_model.small import run_in

LOSING = {"use": "parameters", "removed": 0.3}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return {name: mixture_in(tmp_path_factory.mktemp(name), name) for name in LAYOUTS}


def made(given: dict[str, Any], *transforms: Any, **more: Any) -> LanguageModel:
    return LanguageModel(LanguageModelSettings(**given, transforms=transforms or ("experts",), **more))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_contract_is_kept(homes, layout):
    check_transform(made(homes[layout]).session, pairs=3)


@pytest.mark.parametrize("others", [("heads",), ("weights",), ("sublayers",)])
def test_the_contract_is_kept_beside_other_transforms(homes, others):
    settings = {"heads": {"use": "heads", "drop": False}}
    check_transform(
        made(homes["qwen3_moe"], "experts", *(settings.get(name, name) for name in others)).session, pairs=3
    )


@pytest.mark.parametrize("score", ["wanda", "gblm"])
@pytest.mark.parametrize("layout", ["qwen3_moe", "gpt_oss"])  # the second stores them transposed
def test_weights_of_experts_may_go_too(homes, layout, score):
    session = made(homes[layout], {"use": "weights", "experts": True, "score": score, "genes": "matrix"}).session
    check_transform(session, pairs=2)
    stacks = [matrix for matrix in session.transform.transforms[0].matrices if isinstance(matrix, ExpertStack)]
    assert len(stacks) == sum(len(mixture.stacks) for mixture in session.resident.mixtures) > 0


@pytest.mark.parametrize("layout", ["qwen3_moe", "gpt_oss"])
def test_each_row_of_an_expert_loses_its_lowest_scores(homes, layout):
    session = made(homes[layout], {"use": "weights", "experts": True, "score": "wanda"}).session
    (transform,), model = session.transform.transforms, session.resident.model
    transform.apply(transform.dense)
    of_dense = list(statistics(model, session.texts.calibration.tokens, transform.matrices, {INPUT_NORMS}))
    transform.apply(transform.uniform(0.5))
    for stack, known in of_dense:
        if isinstance(stack, ExpertStack):
            kept = transform.masks.kept(stack)
            for expert, norms in enumerate(known[INPUT_NORMS]):
                both = (each[expert] for each in (transform.masks.base(stack), kept))
                weight, left = (each.T if stack.transposed else each for each in both)
                for row, stays in zip(weight.abs() * norms, left, strict=True):
                    assert row[~stays].max() <= row[stays].min()


def test_weights_of_experts_go_by_one_transform_and_a_score_that_is_known(homes):
    weights = {"use": "weights", "experts": True}
    for transforms in (["experts", weights], [weights | {"score": "obs"}]):
        with pytest.raises(InputError, match=r"problem\.(transforms|score)"):
            made(homes["qwen3_moe"], *transforms)


def test_one_gene_may_be_for_all_blocks(homes):
    session = made(homes["mixtral"], {"use": "experts", "genes": "model", "keep": [0]}).session
    (gene,) = session.transform.genes
    assert gene.levels == tuple(range(EXPERTS, ACTIVE - 1, -1))
    session.transform.apply([2.0])
    assert [mixture.count for mixture in find_mixtures(session.resident.model)] == [EXPERTS, EXPERTS - 2, EXPERTS - 2]
    session.transform.apply(session.transform.dense)
    check_transform(session, pairs=2)


def test_experts_go_in_order_of_a_slow_score(homes):
    session = made(homes["olmoe"], "experts").session
    model, tokens, transform = session.resident.model, session.texts.calibration.tokens, session.transform.transforms[0]
    for block, (states, chosen, _, home) in enumerate(routed(model, tokens)):
        expected = [0.0] * EXPERTS
        for state, experts in zip(states, chosen.tolist(), strict=True):
            for expert in experts:
                kept = [[number for number in range(EXPERTS) if number != expert]] * 3
                with masked(model, dict(enumerate(kept))):
                    other = home(state[None, None])
                expected[expert] += float((other - home(state[None, None])).square().sum())
        order = sorted(range(EXPERTS), key=lambda expert: -expected[expert])
        assert transform.kept(block, 3).tolist() == sorted(order[:3])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_export_of_equal_counts_loads_in_transformers(homes, layout, tmp_path, tokens):
    experts = {"use": "experts", "genes": "model"}
    run = run_in(tmp_path, homes[layout] | {"use": "language_model", "transforms": experts, "budget": LOSING})
    assert main(["export", str(run), str(tmp_path / "out"), "--untimed"]) == 0
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    problem: Any = Run.open(run).problem
    genome = Run.open(run).best.genome
    kept = _kept(problem.session.transform.transforms[0], genome)
    assert {mixture.count for mixture in find_mixtures(loaded)} == {len(left) for left in kept.values()}
    _check_masked(problem.session, kept, loaded, tokens)


def test_an_export_of_unequal_counts_loads_in_evoprune(homes, tmp_path, tokens):
    run = run_in(tmp_path, homes["qwen3_moe"] | {"use": "language_model", "transforms": "experts", "budget": LOSING})
    assert main(["export", str(run), str(tmp_path / "out"), "--untimed"]) == 0
    loaded, _ = evoprune.load(tmp_path / "out")
    problem: Any = Run.open(run).problem
    kept = _kept(problem.session.transform.transforms[0], Run.open(run).best.genome)
    assert len({len(left) for left in kept.values()}) > 1
    _check_masked(problem.session, kept, loaded, tokens)


def _kept(transform: Any, genome: list[float]) -> dict[int, list[int]]:
    transform.apply(genome)
    counts = {mixture.block: mixture.count for mixture in find_mixtures(transform.resident.model)}
    transform.apply(transform.dense)
    return {block: transform.kept(block, count).tolist() for block, count in counts.items()}


def _check_masked(session: Any, kept: dict[int, list[int]], loaded: Any, tokens: torch.Tensor) -> None:
    model = session.resident.model
    with masked(model, kept):
        expected = model(tokens).logits
    torch.testing.assert_close(loaded(tokens).logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("transform", "budget", "named"),
    [
        ({"use": "experts"}, {"use": "parameters", "removed": 0.9}, "problem.budget"),
        ({"use": "experts", "keep": [0, 1, 2]}, LOSING, "problem.transforms.keep"),
        ({"use": "experts", "keep": [3]}, LOSING, "problem.transforms.keep"),
        ({"use": "channels"}, LOSING, "transform experts"),
        ({"use": "experts"}, {"use": "operations", "removed": 0.1}, "problem.budget"),
    ],
)
def test_bad_input_is_refused_in_one_line(homes, transform, budget, named):
    with pytest.raises(InputError, match=named) as error:
        problem = made(homes["qwen3_moe"], transform, budget=budget)
        uniform_share(problem.session.transform, problem.budget)
    assert "\n" not in str(error.value)


def test_an_expert_that_no_token_chose_is_told_and_goes_first(tmp_path):
    given, model = mixture_in(tmp_path, "gpt_oss"), random_mixture("gpt_oss")
    model.model.layers[1].mlp.router.bias[2] = -100
    model.save_pretrained(given["model"])
    transform = made(given).session.transform.transforms[0]
    (remark,) = transform.remarks()
    assert "1 of block 1" in remark
    assert transform.kept(1, EXPERTS - 1).tolist() == [0, 1, 3, 4, 5]


def test_as_many_experts_as_a_token_chooses_cannot_be_left_out(tmp_path: Path):
    given = mixture_in(tmp_path, "mixtral", num_experts_per_tok=EXPERTS)
    with pytest.raises(InputError, match="no block has experts"):
        made(given)
