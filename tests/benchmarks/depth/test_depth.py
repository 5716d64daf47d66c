import json
import math
import random
from itertools import accumulate, product
from math import comb

import pytest
import torch

from evoprune import Additive, Evaluate, Gene, Genes, Individual
from operators.algorithm.random_search import random_search
from problems.language_model.problem import LanguageModel
from problems.models.sublayers import find_sublayers
from problems.texts.settings import TextSettings
from problems.texts.source import load_text
from tests.benchmarks.depth import compare
from tests.benchmarks.depth.account import Account, Report
from tests.benchmarks.depth.costs import alone, block_influence, taylor
from tests.benchmarks.depth.enumerate import Table, depth_first, genome, pairs, whole_blocks
from tests.benchmarks.depth.evopress import swapped
from tests.benchmarks.depth.rates import SEARCHES, SEEDED, main
from tests.benchmarks.depth.removal import Removal
from tests.benchmarks.depth.solvers import by_cost, by_rate, dynamic, mip
from tests.benchmarks.depth.spaces import Space
from tests.problems.small import plain_perplexity, problem_in


def test_all_removals_are_there_once_and_neighbours_share_their_beginning():
    ordered = depth_first(pairs())
    assert len(ordered) == len({*ordered}) == comb(12, 3) ** 2
    assert len({*whole_blocks()}) == 4096
    assert [genome(pair) for pair in ordered] == sorted(genome(pair) for pair in ordered)


def test_a_swap_keeps_the_numbers_of_each_kind():
    random.seed(0)
    space = Space(2)
    for _ in range(50):
        pair = space.pair(swapped(space.toolbox().individual(), space.kinds))
        assert [mask.bit_count() for mask in pair] == [3, 3]


def test_evaluations_are_counted_once_until_the_goal(tmp_path):
    space, table = Space(1), Table(tmp_path / "none.jsonl")
    table.known = {pair: float(pair[0]) for pair in whole_blocks()}
    random.seed(0)
    search = random_search(space.toolbox(), population=16, initial_genomes=[])
    at_once, never = compare.found(search, space, table, [4096.0, -1.0], 100)
    assert (at_once, never) == (1, None)


def budget_of(sizes, removed):
    genes = Genes([Gene.of_levels(f"{place}", ("keep", "drop")) for place in range(len(sizes))])
    return Additive(genes, [[0.0, -size] for size in sizes], (1 - removed) * sum(sizes), fixed=sum(sizes))


def total(costs, genome):
    return sum(cost for cost, dropped in zip(costs, genome, strict=True) if dropped)


@pytest.mark.parametrize("seed", range(20))
def test_solvers_find_the_least_sum_and_orders_keep_the_limit(seed):
    draw = random.Random(seed)
    sizes = [12.0 * draw.randint(1, 40) for _ in range(9)]
    costs, budget = [draw.uniform(-0.2, 1) for _ in sizes], budget_of(sizes, draw.choice([0.25, 1 / 3, 0.9, 1.0]))
    kept = [genome for genome in product((0.0, 1.0), repeat=9) if budget.within(genome)]
    least = min(total(costs, genome) for genome in kept)
    for solver in (dynamic, mip):
        found = solver(costs, budget)
        assert tuple(found) in kept
        assert total(costs, found) == pytest.approx(least)
    assert all(tuple(order(costs, budget)) in kept for order in (by_cost, by_rate))


def test_orders_drop_the_cheapest_alone_or_for_what_it_saves():
    costs, budget = [1.0, 2.0, 3.0], budget_of([1.0, 8.0, 4.0], 0.3)
    assert by_cost(costs, budget) == [1.0, 1.0, 0.0]
    assert by_rate(costs, budget) == [0.0, 1.0, 0.0]


@pytest.fixture
def problem(tmp_path):
    """Makes a problem on a small random model of some architecture."""

    def make(architecture="gpt2", **more):
        given = problem_in(tmp_path, architecture) | {"transforms": {"use": "sublayers"}} | more
        return LanguageModel(LanguageModel.Settings.model_validate(given))

    return make


def outputs(model, layers, tokens):
    """What each of ``layers`` returns for each window."""
    found = {layer: [] for layer in layers}
    for layer, notes in found.items():
        layer.register_forward_hook(lambda *given, notes=notes: notes.append(given[2]))
    for window in tokens:
        model(window[None])
    return [[each[0] if isinstance(each, tuple) else each for each in notes] for notes in found.values()]


def test_block_influence_is_one_minus_the_cosine_around_each_addition(problem):
    made, paid = problem(), []
    found = block_influence(made, paid.append)
    session = made.session
    tokens = session.texts.calibration.tokens
    assert sum(paid) == tokens.numel()
    session.transform.apply(session.transform.dense)
    body = session.resident.model.transformer
    layers = [body.drop, *(layer for block in body.h for layer in (block.attn, block.mlp))]
    states, *additions = outputs(session.resident.model, layers, tokens)
    for added, cost in zip(additions, found, strict=True):
        after = [state + more for state, more in zip(states, added, strict=True)]
        cosines = [
            float(x @ y / (x.norm() * y.norm()))
            for one, other in zip(states, after, strict=True)
            for x, y in zip(one[0], other[0], strict=True)
        ]
        assert cost == pytest.approx(1 - sum(cosines) / len(cosines), abs=1e-5)
        states = after


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_taylor_is_the_change_of_the_mean_loss_with_each_weight(problem, architecture):
    made, paid = problem(architecture), []
    found = taylor(made, paid.append)
    model, tokens = made.session.resident.model, made.session.texts.calibration.tokens
    assert sum(paid) == 3 * tokens.numel()
    assert not any(parameter.requires_grad for parameter in model.parameters())
    weights = [layer.weight.requires_grad_() for sublayer in find_sublayers(model) for layer in sublayer.layers]
    with torch.enable_grad():
        loss = torch.stack([model(window[None], labels=window[None]).loss for window in tokens]).mean()
    gradients = torch.autograd.grad(loss, weights)
    products = [
        float((weight.detach() * gradient).abs().sum()) for weight, gradient in zip(weights, gradients, strict=True)
    ]
    parts = [len(sublayer.layers) for sublayer in find_sublayers(model)]
    ends = [*accumulate(parts)]
    assert found == pytest.approx(
        [sum(products[end - size : end]) for size, end in zip(parts, ends, strict=True)], 1e-4
    )


def test_alone_is_what_the_loss_rises_by(problem):
    made, paid = problem(), []
    found = alone(made, paid.append)
    tokens, transform = made.session.texts.search.tokens, made.session.transform
    assert paid == [tokens.numel()] * 7
    transform.apply(transform.dense)
    dense = plain_perplexity(made.session.resident.model, tokens)
    transform.apply([0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    assert found[3] == pytest.approx(math.log(plain_perplexity(made.session.resident.model, tokens) / dense), rel=1e-4)


def test_equal_numbers_keep_the_budget_with_the_fewest(problem):
    removal = Removal(problem(budget={"use": "parameters", "removed": 0.4}))
    assert removal.number == 2
    for each in (removal.equal_numbers().individual(), *removal.windows()):
        assert [sum(each[gene] for gene in kind) for kind in removal.kinds] == [2, 2]
        assert removal.budget.within(each)
    assert removal.cheapest([0.1, 0.6, 0.3, 0.4, 0.2, 0.5]) == [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    assert removal.windows() == [[1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]]


def test_a_genome_is_paid_once_at_a_fidelity_and_nothing_is_scored_beyond_the_tokens(problem):
    made = problem(budget={"use": "parameters", "removed": 0.3})
    on, off = Individual([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]), Individual([0.0] * 6)
    account = Account(made, 3 * 32, lambda line: None)
    account.run(iter([Evaluate([on, off], 0.5), Evaluate([on, on], 0.5)]))
    assert account.spent == 2 * 32
    assert account.best is None
    account.run(iter([Evaluate([on])]))  # two windows are more than is left
    assert account.spent == made.session.fitness.tokens_scored == 2 * 32
    account = Account(made, 6 * 32, lambda line: None)
    account.run(iter([Evaluate([off]), Evaluate([on], probe=True)]))
    assert account.best is None
    account.run(iter([Evaluate([on])]))
    assert account.best == on


def test_the_report_is_perplexity_and_divergence_from_dense(problem):
    made = problem(kl_top=128)
    genome = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    perplexity, divergence = Report(made, lambda line: None)(genome)
    model, tokens = made.session.resident.model, made.session.texts.report.tokens
    assert perplexity == pytest.approx(plain_perplexity(model, tokens), rel=1e-5)
    log_q = model(tokens).logits[:, :-1].log_softmax(-1)
    made.session.transform.apply(made.session.transform.dense)
    log_p = model(tokens).logits[:, :-1].log_softmax(-1)
    assert divergence == pytest.approx(float((log_p.exp() * (log_p - log_q)).sum(-1).mean()), rel=1e-4)


def test_every_search_is_run_once_and_a_file_is_continued(tmp_path, capsys):
    for name, split in (("search.txt", "validation"), ("report.txt", "test")):
        text = load_text(TextSettings(source="bundled:python-docs", split=split), "search_text")
        (tmp_path / name).write_text(text[:3_000])
    out, windows = tmp_path / "out.jsonl", ["--search-windows", "2", "32", "--report-windows", "2", "64"]
    command = [str(out), "--search-text", str(tmp_path / "search.txt"), "--report-text", str(tmp_path / "report.txt")]
    command += [*windows, "--dtype", "float32", "--tokens", "3000", "--seeds"]
    main([*command, "0", "--searches", "mip", "random"])
    first = out.read_text()
    main([*command, "0", "1"])
    assert out.read_text().startswith(first)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    runs = [(line["search"], line["seed"]) for line in lines]
    assert sorted(runs) == sorted([(name, 0) for name in SEARCHES] + [(name, 1) for name in SEEDED])
    assert all(line["tokens"] <= 3_000 for line in lines)
    found = [line for line in lines if line["report_ppl"]]
    assert {line["search"] for line in found} >= {"mip", "evopress", "taylor", "random"}
    assert all(line["removed"] >= 0.25 for line in found)
    by_name = {line["search"]: line for line in found}
    assert by_name["mip"]["report_ppl"] == pytest.approx(by_name["dynamic"]["report_ppl"])
    printed = capsys.readouterr().out
    assert all(f"| {name} |" in printed for name in SEARCHES)
    with pytest.raises(SystemExit) as refused:
        main([*command, "0", "--removed", "0.5"])
    assert refused.value.code == 2
    assert "holds results of other settings" in capsys.readouterr().err
