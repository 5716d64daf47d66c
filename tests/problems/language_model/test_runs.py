"""Runs of the problem ``pruning`` on a small model: what they leave."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evoprune.cli import main
from evoprune.records import recorded
from tests.problems.language_model.small import plain_perplexity, run_in
from tests.runs import candidates, lines, result


@pytest.fixture
def run(small, tmp_path):
    """Runs a tiny search on the small model, with settings as ``--set`` takes them; returns the run's folder."""

    def call(*settings, name="run"):
        given = [part for setting in settings for part in ("--set", setting)]
        return run_in(tmp_path, small | {"use": "pruning", "curve": [0.3]}, *given, name=name)

    return call


def finalists(folder):
    return [line for line in recorded.lines(folder / "history.jsonl") if "finalist" in line]


def test_every_candidate_is_on_target(run_on):
    for line in candidates(run_on("gpt2")):
        assert line["measures"]["sparsity"] == pytest.approx(0.45, abs=1e-4)
    found = result(run_on("gpt2"))
    assert found["sparsity"]["prunable"] == pytest.approx(0.45, abs=1e-4)
    assert found["work"] == found["evaluations"] * 64


def test_reported_perplexity_is_that_of_a_plain_model_masked_by_hand(run_on):
    """Cut by sorting each matrix of a freshly loaded model; nothing of ours but the genome is used."""
    folder = run_on("gpt2")
    found, source = result(folder), folder.parent
    model = AutoModelForCausalLM.from_pretrained(source / "model", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(source / "model")
    ids = tokenizer((source / "report.txt").read_text(), add_special_tokens=False)["input_ids"]
    tokens = torch.tensor(ids[: 4 * 32]).view(4, 32)
    with torch.no_grad():
        assert found["perplexity"]["report"]["dense"] == pytest.approx(plain_perplexity(model, tokens), rel=1e-4)
        for block, sparsity in zip(model.transformer.h, found["best"]["genome"], strict=True):
            seen = removed = 0  # fractions of weights are carried on within a block
            for layer in (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj):
                order = layer.weight.abs().flatten().argsort(stable=True)
                seen += order.numel()
                count = round(sparsity * seen) - removed
                layer.weight.view(-1)[order[:count]] = 0
                removed += count
        assert found["perplexity"]["report"]["evolved"] == pytest.approx(plain_perplexity(model, tokens), rel=1e-4)


def test_a_run_is_the_same_whatever_is_kept(run, monkeypatch):
    def of_run(name):
        folder = run("problem.score=gblm", "problem.reconstruct=least_squares", "operators.algorithm=random_search",
                     name=name)  # fmt: skip
        return lines(folder), result(folder)["perplexity"]

    filling, filled = of_run("filling"), of_run("filled")
    monkeypatch.setenv("EVOPRUNE_CACHE", "/dev/null/no-folder")
    assert of_run("without") == filling == filled


def test_a_second_text_may_change_in_a_run(run, small):
    folder = run(f"problem.second_text={ {'source': small['report_text']['source'], 'window': 32} }")
    assert "second" in result(folder)
    assert main(["resume", str(folder), "--set", "problem.second_text=[]", "--set", "generations=2"]) == 0
    assert "second" not in result(folder)
    assert recorded.read(folder, (-1.0,)).generation == 2
