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
from evoprune.problems.language_model.models.blocks import find_mixtures
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.problems.language_model.testing import check_transform
from evoprune.problems.language_model.transforms.first_genomes import uniform_share
from tests.problems.language_model.mixtures import ACTIVE, EXPERTS, LAYOUTS, masked, mixture_in, random_mixture, routed
from tests.problems.language_model.recoveries import facts
from tests.problems.language_model.small import run_in

LOSING = {"use": "parameters", "removed": 0.3}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return {name: mixture_in(tmp_path_factory.mktemp(name), name) for name in LAYOUTS}


def made(given: dict[str, Any], *transforms: Any, **more: Any) -> LanguageModel:
    return LanguageModel(LanguageModelSettings(**given, transforms=transforms or ("experts",), **more))


@pytest.mark.parametrize(
    ("layout", "transforms"),
    [
        *((layout, ["experts"]) for layout in LAYOUTS),
        *(("qwen3_moe", ["experts", other]) for other in ({"use": "heads", "drop": False}, "weights", "sublayers")),
    ],
)
def test_the_contract_is_kept(homes, layout, transforms):
    check_transform(made(homes[layout], *transforms).session, pairs=2)


def test_one_gene_may_be_for_all_blocks(homes):
    session = made(homes["mixtral"], {"use": "experts", "genes": "model", "keep": [0]}).session
    (gene,) = session.transform.genes
    assert gene.levels == tuple(range(EXPERTS, ACTIVE - 1, -1))
    session.transform.apply([2.0])
    assert [mixture.count for mixture in find_mixtures(session.resident.model)] == [EXPERTS, EXPERTS - 2, EXPERTS - 2]


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
        assert transform.remaining(block, 3).tolist() == sorted(order[:3])


@pytest.mark.parametrize(("layout", "genes"), [*((layout, "model") for layout in LAYOUTS), ("qwen3_moe", "block")])
def test_an_export_loads_in_transformers_if_counts_are_equal_or_in_evoprune(homes, layout, genes, tmp_path, tokens):
    experts = {"use": "experts", "genes": genes}
    run = run_in(tmp_path, homes[layout] | {"use": "language_model", "transforms": experts, "budget": LOSING})
    assert main(["export", str(run), str(tmp_path / "out"), "--untimed"]) == 0
    if genes == "model":
        loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    else:
        loaded, _ = evoprune.load(tmp_path / "out")
    assert ("evoprune" in facts(tmp_path / "out")["usage"]) == (genes != "model")
    transform: Any = Run.open(run).problem.session.transform.transforms[0]
    counts = {mixture.block: mixture.count for mixture in find_mixtures(loaded)}
    assert transform.counts_of(Run.open(run).best.genome) == counts
    assert (len({*counts.values()}) == 1) == (genes == "model")
    model = transform.resident.model
    transform.apply(transform.dense)
    with masked(model, {block: transform.remaining(block, count).tolist() for block, count in counts.items()}):
        expected = model(tokens).logits
    torch.testing.assert_close(loaded(tokens).logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("transforms", "budget", "named"),
    [
        (["experts"], {"use": "parameters", "removed": 0.9}, "problem.budget"),
        ([{"use": "experts", "keep": [0, 1, 2]}], LOSING, "problem.transforms.keep"),
        ([{"use": "experts", "keep": [3]}], LOSING, "problem.transforms.keep"),
        (["channels"], LOSING, "transform experts"),
        ([{"use": "weights", "reconstruct": "least_squares"}, "experts"], LOSING, "problem.transforms: .*reconstruct"),
    ],
)
def test_bad_input_is_refused_in_one_line(homes, transforms, budget, named):
    with pytest.raises(InputError, match=named) as error:
        problem = made(homes["qwen3_moe"], *transforms, budget=budget)
        uniform_share(problem.session.transform, problem.budget)
    assert "\n" not in str(error.value)


def test_an_expert_that_no_token_chose_is_told_and_goes_first(tmp_path):
    given, model = mixture_in(tmp_path, "gpt_oss"), random_mixture("gpt_oss")
    model.model.layers[1].mlp.router.bias[2] = -100
    model.save_pretrained(given["model"])
    transform = made(given).session.transform.transforms[0]
    (remark,) = transform.remarks()
    assert "1 of block 1" in remark
    assert transform.remaining(1, EXPERTS - 1).tolist() == [0, 1, 3, 4, 5]


def test_as_many_experts_as_a_token_chooses_cannot_be_left_out(tmp_path: Path):
    given = mixture_in(tmp_path, "mixtral", num_experts_per_tok=EXPERTS)
    with pytest.raises(InputError, match=r"problem\.transforms\.keep: .*experts"):
        made(given)
