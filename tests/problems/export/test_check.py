"""The script that checks a folder, in this process."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evoprune.problems.export import check
from evoprune.problems.models.blocks import find_matrices
from tests.problems.small import plain_perplexity


@pytest.fixture
def job(small):
    model = AutoModelForCausalLM.from_pretrained(small["model"])
    return {
        "folder": small["model"], "matrices": [matrix.name for matrix in find_matrices(model)], "window": 32,
        "text": small["report_text"]["source"], "windows": 4, "dtype": "float32", "device": "cpu",
        "trust_remote_code": False, "ragged": False, "begin": False,
    }  # fmt: skip


def test_it_measures_what_a_plain_forward_gives(job, session):
    found, tokens = check.main(job), session.texts.report.tokens
    assert found["perplexity"] == pytest.approx(plain_perplexity(session.resident.model, tokens), rel=1e-4)
    assert found["tokens_sha256"] == session.texts.report.sha256
    assert found["zeros"] == dict.fromkeys(job["matrices"], 0)


def test_carriage_returns_are_read_as_they_were_written(tmp_path):
    text, tokenizer = "one\r\ntwo\rthree\n", AutoTokenizer.from_pretrained("problems/bundled/weights")
    (tmp_path / "text.txt").write_text(text, newline="")
    expected = tokenizer(text, add_special_tokens=False)["input_ids"]
    job = {"text": str(tmp_path / "text.txt"), "begin": False, "window": len(expected), "windows": 1}
    assert check.tokenise(tokenizer, job).flatten().tolist() == expected


@torch.no_grad()
def test_zeros_are_counted_in_each_matrix_and_a_loss_that_overflows_is_infinite(job):
    model = AutoModelForCausalLM.from_pretrained(job["folder"])
    model.get_submodule(job["matrices"][1]).weight.view(-1)[:7] = 0
    assert list(check.zeros(model, job["matrices"]).values())[:3] == [0, 7, 0]
    model.get_output_embeddings().weight.mul_(1e6)
    assert check.perplexity(model, torch.arange(64).view(2, 32)) == math.inf
