"""The whole experiment on the bundled model, shrunk to seconds."""

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evoprune.ablation.campaign import Campaign
from evoprune.ablation.grid import Variant
from evoprune.ablation.outcome import finished as finished_run
from evoprune.api import Run
from evoprune.cli import main
from evoprune.records.history import read, without_times
from problems.pruning.model.load import BUNDLED_WEIGHTS
from problems.pruning.problem import Pruning
from problems.pruning.report import gap_closed, overfitting
from problems.pruning.settings import PruningSettings
from problems.pruning.text.python_docs import python_docs
from tests.problems.pruning.conftest import plain_perplexity

SMALL = [
    "--set", "population=4", "--set", "generations=2", "--set", "problem.curve=[0.3]",
    "--set", "problem.search_text.windows=1", "--set", "problem.report_text.windows=2",
]  # fmt: skip


def run(tmp_path, name, *arguments):
    code = main(["run", "problems/gpt2_mini.yaml", "--runs-dir", str(tmp_path), "--name", name, *SMALL, *arguments])
    assert code == 0
    return tmp_path / name


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs"), "a")


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def test_result_states_scores_and_protocol(finished):
    result = result_of(finished)
    for text in ("search", "report"):
        assert set(result["perplexity"][text]) == {"dense", "uniform", "evolved"}
    assert result["work"] == result["evaluations"] * 256
    assert result["seconds"] > 0
    assert len(result["best"]["genome"]) == 12
    protocol = result["protocol"]
    assert protocol["search_text"]["sha256"] != protocol["report_text"]["sha256"]
    assert protocol["report_text"]["predictions"] == 2 * 255
    assert result["gap_closed"] == gap_closed(**result["perplexity"]["report"])


def test_a_run_is_described_by_model_weights_genes_and_device(finished):
    told = Run.open(finished, ["problem.device=cpu"]).problem.describe()
    assert told == "bundled:gpt2-mini, 3,686,400 prunable weights, 12 genes, float32 on cpu"


def test_every_candidate_is_on_target(finished):
    for line in read(finished / "history.jsonl"):
        if "candidate" in line:
            assert line["measures"]["sparsity"] == pytest.approx(0.45, abs=1e-4)
    result = result_of(finished)
    assert result["sparsity"]["prunable"] == pytest.approx(0.45, abs=1e-4)
    assert result["sparsity"]["model"] < 0.45


def test_reported_perplexity_is_that_of_a_plain_model_masked_by_hand(finished):
    """Cut by sorting each matrix of a freshly loaded model; nothing of ours but the genome is used."""
    result = result_of(finished)
    model = AutoModelForCausalLM.from_pretrained(BUNDLED_WEIGHTS, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED_WEIGHTS)
    ids = tokenizer(python_docs("test"), add_special_tokens=False, verbose=False)["input_ids"]
    tokens = torch.tensor(ids[:512]).view(2, 256)
    with torch.no_grad():
        assert result["perplexity"]["report"]["dense"] == pytest.approx(plain_perplexity(model, tokens), rel=1e-4)
        for block, sparsity in zip(model.transformer.h, result["best"]["genome"], strict=True):
            seen = removed = 0  # fractions of weights are carried on within a block
            for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
                order = layer.weight.abs().flatten().argsort(stable=True)
                seen += order.numel()
                size = order.numel()
                levels = min(size, 65_535)  # cuts lie between levels
                count = math.ceil(round((round(sparsity * seen) - removed) * levels / size) * size / levels)
                layer.weight.view(-1)[order[:count]] = 0
                removed += count
        assert result["perplexity"]["report"]["evolved"] == pytest.approx(plain_perplexity(model, tokens), rel=1e-4)


def test_the_same_seed_gives_the_same_history(finished, tmp_path):
    again = run(tmp_path, "b")
    histories = [without_times(read(folder / "history.jsonl")) for folder in (finished, again)]
    assert histories[0] == histories[1]


def test_the_stored_config_repeats_the_run(finished, tmp_path):
    assert main(["run", str(finished / "config.yaml"), "--runs-dir", str(tmp_path), "--name", "again"]) == 0
    assert result_of(tmp_path / "again")["best"] == result_of(finished)["best"]


def test_figures_are_drawn(finished):
    for name in ("cliff", "sparsity_by_layer", "convergence"):
        assert (finished / f"{name}.png").stat().st_size > 5000
        assert (finished / f"{name}.svg").read_text().startswith("<?xml")
    blocks = (finished / "sparsity_by_layer.svg").read_text()
    assert ">0</text>" in blocks
    assert ">12</text>" not in blocks


def test_each_figure_has_a_sentence(finished):
    assert result_of(finished)["figures"].keys() | {"convergence"} == {path.stem for path in finished.glob("*.svg")}


def test_a_gene_for_each_matrix_and_scores_by_row(tmp_path):
    folder = run(tmp_path, "m", "--set", "problem.genes=matrix", "--set", "problem.scope=row")
    result = result_of(folder)
    assert len(result["best"]["genome"]) == len(result["genes"]) == 48
    assert result["sparsity"]["prunable"] == pytest.approx(0.45, abs=1e-4)


def test_reconstruction_and_allocations_stand_beside_the_search(tmp_path):
    given = ["problem.score=wanda", "problem.reconstruct=sparsegpt", "problem.allocations=[erdos_renyi, global]"]
    folder = run(tmp_path, "c", "--set", "generations=0", *(part for setting in given for part in ("--set", setting)))
    result = result_of(folder)
    perplexity, allocations = result["perplexity"], result["allocations"]
    rebuilt = {"dense": perplexity["report"]["dense"]} | perplexity["report_reconstructed"]
    assert result["gap_closed_reconstructed"] == gap_closed(**rebuilt)
    for mark in ("uniform, reconstructed", "evolved, reconstructed", "erdos_renyi", "global"):
        assert f">{mark}: " in (folder / "cliff.svg").read_text()
    for text in ("search", "report"):
        assert perplexity[f"{text}_reconstructed"]["uniform"] < perplexity[text]["uniform"]
        # all blocks of this model are alike
        assert allocations["erdos_renyi"][text] == pytest.approx(perplexity[text]["uniform"], rel=1e-3)
    assert len(allocations["global"]["genome"]) == 12
    assert result["curve"]["sparsity"] == [0.0, 0.3, 0.45]
    assert result["protocol"]["calibration_text"]["sha256"] != result["protocol"]["report_text"]["sha256"]


@pytest.mark.parametrize("repair", ["shift", "scale", "project"])
def test_repairs_land_on_the_target(tmp_path, repair):
    folder = run(tmp_path, repair, "--set", f"operators.repair.use={repair}", "--set", "generations=1")
    assert result_of(folder)["sparsity"]["prunable"] == pytest.approx(0.45, abs=1e-4)


def test_gap_closed_is_a_share_of_log_perplexity():
    assert gap_closed(dense=20.0, uniform=80.0, evolved=40.0) == pytest.approx(0.5)
    assert gap_closed(dense=20.0, uniform=80.0, evolved=80.0) == 0
    assert gap_closed(dense=20.0, uniform=80.0, evolved=160.0) < 0
    assert gap_closed(dense=20.0, uniform=None, evolved=40.0) is None
    assert math.isclose(gap_closed(dense=25.0, uniform=250.0, evolved=25.0), 1.0)


def test_overfitting_is_the_gain_that_does_not_carry_over():
    searched = {"uniform": 80.0, "evolved": 40.0}
    assert overfitting(searched, {"uniform": 200.0, "evolved": 100.0}) == 0
    assert overfitting(searched, {"uniform": 80.0, "evolved": 80.0}) == pytest.approx(math.log(2))
    assert overfitting(searched, {"uniform": 80.0, "evolved": 20.0}) < 0
    assert overfitting(searched, {"uniform": None, "evolved": 20.0}) is None


def test_result_tells_overfitting(finished):
    result = result_of(finished)
    perplexity = result["perplexity"]
    assert set(perplexity["held_out"]) == {"dense", "uniform", "evolved"}
    assert result["unseen"] == perplexity["report"]["evolved"]
    for text in ("held_out", "report"):
        assert result["overfitting"][text] == overfitting(perplexity["search"], perplexity[text])
    protocol = result["protocol"]
    assert protocol["held_out_text"]["windows"] == 8
    assert len({protocol[f"{text}_text"]["sha256"] for text in ("search", "held_out", "report")}) == 3


def test_without_held_out_windows_only_the_report_text_tells(tmp_path):
    result = result_of(run(tmp_path, "n", "--set", "problem.held_out_windows=0", "--set", "generations=0"))
    assert set(result["overfitting"]) == {"report"}
    assert result["protocol"]["held_out_text"] is None


def test_patience_watches_the_held_out_windows(tmp_path):
    given = ["patience=1", "problem.held_out_windows=1", "generations=4"]
    folder = run(tmp_path, "w", *(part for setting in given for part in ("--set", setting)))
    seen = [line["watched"] for line in read(folder / "history.jsonl") if "median" in line]
    assert result_of(folder)["perplexity"]["held_out"]["evolved"] == min(seen)


@pytest.fixture(scope="module")
def traded(tmp_path_factory):
    given = ["operators.algorithm=nsga2", "problem.second_objective=sparsity", "~operators.repair", "population=8"]
    options = [part for setting in given for part in ("--set", setting)]
    return run(tmp_path_factory.mktemp("runs"), "front", *options)


def test_a_front_holds_the_trade_offs_that_no_candidate_dominates(traded):
    result = result_of(traded)
    front = [tuple(point["fitness"]) for point in result["front"]]
    scored = {tuple(line["fitness"]) for line in read(traded / "history.jsonl") if "candidate" in line}

    def dominated(point):
        return any(p[0] <= point[0] and p[1] >= point[1] and p != point for p in scored)

    assert set(front) == {point for point in scored if not dominated(point)}
    assert len(front) > 3
    assert (traded / "front.png").stat().st_size > 5000


def test_the_result_of_a_front_is_the_best_at_the_target(traded):
    result = result_of(traded)
    reached = [point for point in result["front"] if point["fitness"][1] >= 0.45 - 1e-4]
    assert result["best"] == min(reached, key=lambda point: point["fitness"][0])
    assert result["perplexity"]["search"]["evolved"] == result["best"]["fitness"][0]
    assert result["gap_closed"] is None  # there is no budget that uniform pruning would share


def test_mutations_are_drawn_to_the_advice(tmp_path):
    """All children of uniform raise the gene that is furthest below its advice, and lower the one furthest above."""
    given = [
        "problem.advice=global", "problem.allocations=[global]", "generations=1",
        "operators.algorithm={use: level_switching, offspring: 3, screening: 1}",
        "operators.mutate={use: exchange, step: 0.01, moves: 1, strength: 100}",
    ]  # fmt: skip
    folder = run(tmp_path, "a", *(part for setting in given for part in ("--set", setting)))
    advice = result_of(folder)["allocations"]["global"]["genome"]
    uniform, *children = [line["genome"] for line in read(folder / "history.jsonl") if "candidate" in line]
    for child in children:
        changes = [new - old for new, old in zip(child, uniform, strict=True)]
        assert max(changes) > 1e-6
        assert changes.index(max(changes)) == advice.index(max(advice))
        assert changes.index(min(changes)) == advice.index(min(advice))


def test_starts_are_in_the_first_population_and_on_the_budget(tmp_path):
    given = ["problem.starts=[global, uniform]", "problem.allocations=[global]", "generations=0"]
    folder = run(tmp_path, "s", *(part for setting in given for part in ("--set", setting)))
    first = [line for line in read(folder / "history.jsonl") if "candidate" in line][:2]
    assert first[0]["genome"] == pytest.approx(result_of(folder)["allocations"]["global"]["genome"])
    assert first[1]["genome"] == pytest.approx([0.45] * 12)
    assert first[0]["measures"]["sparsity"] == pytest.approx(0.45, abs=1e-4)


def test_the_budget_pays_for_a_start_that_was_looked_for(tmp_path):
    """Each of 12 blocks at 6 sparsities and the dense model, on the one search window."""
    given = ["problem.starts=[layer_errors]", "generations=9", "budget=20000"]
    folder = run(tmp_path, "s", *(part for setting in given for part in ("--set", setting)))
    result = result_of(folder)
    candidates = [line for line in read(folder / "history.jsonl") if "candidate" in line]
    assert result["preparation"] == 73 * 256
    assert result["work"] == 73 * 256 + 256 * sum(not line["memo"] for line in candidates)
    assert len(candidates) < 12  # 20,000 tokens pay for two generations of 4 more
    campaign = Campaign(file="", settings=[], variants=[Variant("any", ())], seeds=1, budget=20_000, unit="tokens")
    assert finished_run("any", 0, folder, -1.0, campaign).curve.work[0] == 74 * 256


def test_uniform_at_the_target_is_of_the_target_where_the_curve_rounds_to_it():
    beside = 0.1 + 0.2
    problem = Pruning(PruningSettings(sparsity=0.3, curve=(0.1, beside, 0.5)))
    references = problem.references()
    assert beside != 0.3
    assert list(references) == ["dense", "uniform 10%", "uniform 30%", "uniform 50%"]
    assert set(references["uniform 30%"]) == {0.3}
