"""The script that checks a folder, in this process."""

import hashlib
import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from evoprune.problems.language_model.export import check
from evoprune.problems.language_model.models.blocks import find_matrices
from tests.problems.language_model.small import plain_perplexity


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


def test_of_a_task_file_it_measures_the_answers_and_reads_the_first_line_itself(job, session, tmp_path):
    tokens, model = session.texts.report.tokens, session.resident.model
    marked = torch.cat([~tokens[:, :20], tokens[:, 20:]], dim=1)
    (tmp_path / "line.txt").write_text(" ".join(f"w{word}" for word in tokens[0, :9].tolist()))
    found = check.main(job | {"rows": marked.tolist(), "text": str(tmp_path / "line.txt")})
    (tmp_path / "line.txt").write_text(" ".join(f"w{word}" for word in [*tokens[0].tolist(), 1]))  # more than fit
    assert (
        check.main(job | {"rows": marked.tolist(), "text": str(tmp_path / "line.txt")})["tokens_sha256"]
        == (found["tokens_sha256"])
    )
    losses = cross_entropy(model(tokens).logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")[:, 19:]
    assert found["perplexity"] == pytest.approx(math.exp(losses.mean()), rel=1e-4)
    assert found["tokens_sha256"] == hashlib.sha256(marked.numpy().tobytes()).hexdigest()
    (tmp_path / "line.txt").write_text("w1 w2 w3")
    assert check.main(job | {"rows": marked.tolist(), "text": str(tmp_path / "line.txt")}) != found


def test_carriage_returns_are_read_as_they_were_written(tmp_path):
    text, tokenizer = "one\r\ntwo\rthree\n", AutoTokenizer.from_pretrained("problems/language_model/bundled/weights")
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
