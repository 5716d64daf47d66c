"""Models and texts that cannot be used: one message, exit code 2, nothing written."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, MambaConfig, MambaForCausalLM

from evoprune.cli import main
from problems.models.load import BUNDLED_WEIGHTS

PROGRESS = ["--threads and --devices change it", "loading the problem ", "starting"]
"""Of lines that are no message; the last two come where loading takes seconds."""


@pytest.fixture
def refused(tmp_path, capsys):
    """Runs the bundled experiment with settings that must be refused; returns the message."""

    def call(*settings):
        arguments = [part for setting in settings for part in ("--set", setting)]
        capsys.readouterr()  # what the test itself did so far
        code = main(["run", "problems/gpt2_mini.yaml", "--runs-dir", str(tmp_path / "runs"), *arguments])
        told = capsys.readouterr().err.splitlines(keepends=True)
        message = "".join(line for line in told if not any(part in line for part in PROGRESS))
        assert code == 2, message
        assert message.startswith("evoprune: ")
        assert message.count("\n") == 1
        assert not (tmp_path / "runs").exists()
        return message

    return call


def saved(model, folder):
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(BUNDLED_WEIGHTS).save_pretrained(folder)
    return f"problem.model={folder}"


def test_missing_folder(refused, tmp_path):
    assert "no such folder" in refused(f"problem.model={tmp_path / 'nothing'}")


def test_missing_gguf(refused, tmp_path):
    assert "no such file" in refused(f"problem.model={tmp_path / 'nothing.gguf'}")


def test_unknown_bundled_model(refused):
    assert "gpt2-mini" in refused("problem.model=bundled:gpt5")


def test_a_path_that_is_not_there_is_not_looked_up_on_the_hub(refused):
    for path in ("runs/typo", "./typo", "no/such/folder"):
        assert f"problem.model: {path.removeprefix('./')}: no such folder" in refused(f"problem.model={path}")


def test_a_folder_that_lacks_something_of_a_model(refused, tmp_path):
    folder, given = tmp_path / "model", f"problem.model={tmp_path / 'model'}"
    folder.mkdir()
    assert f"{folder} holds no config.json; expected a folder that save_pretrained wrote" in refused(given)
    (folder / "small.gguf").touch()
    assert f"give the file, {folder / 'small.gguf'}" in refused(given)
    (folder / "config.yaml").touch()
    assert "is the folder of a run; write its model first" in refused(given)
    (folder / "config.json").write_text("{}")
    assert "holds no weights (*.safetensors)\n" in refused(given)
    (folder / "pytorch_model.bin").touch()
    assert "they are pickled" in refused(given)
    AutoModelForCausalLM.from_pretrained(BUNDLED_WEIGHTS).save_pretrained(folder)
    assert "holds no tokenizer (such as tokenizer.json)" in refused(given)


def test_broken_gguf(refused, tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not really")
    assert "could not be loaded" in refused(f"problem.model={tmp_path / 'broken.gguf'}")


@pytest.mark.usefixtures("offline")
def test_unreachable_hub(refused):
    message = refused("problem.model=evoprune/there-is-no-such-model")
    assert "could not be loaded" in message
    assert "local folder" in message


def test_nan_weights(refused, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(BUNDLED_WEIGHTS)
    with torch.no_grad():
        model.transformer.h[3].mlp.c_fc.weight[0, 0] = float("nan")
    message = refused(saved(model, tmp_path / "nan"))
    assert "not finite" in message
    assert "h.3.mlp.c_fc.weight" in message


def test_a_checkpoint_that_lacks_weights_or_has_others(refused, tmp_path):
    saved(AutoModelForCausalLM.from_pretrained(BUNDLED_WEIGHTS), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    for name in ("transformer.h.3.mlp.c_fc.weight", "transformer.h.0.attn.c_proj.bias"):
        del weights[name]
    weights["transformer.ln_f.bias"] = torch.zeros(3)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    message = refused(f"problem.model={tmp_path}")
    assert (
        "transformer.h.0.attn.c_proj.bias, transformer.h.3.mlp.c_fc.weight, transformer.ln_f.bias (3,) for" in message
    )
    assert "lm_head" not in message  # it is tied


def test_text_longer_than_the_model_takes(refused):
    assert "positions" in refused("problem.search_text.window=512")


def test_text_shorter_than_a_window(refused, tmp_path):
    (tmp_path / "short.txt").write_text("Too short.")
    message = refused("problem.search_text={source: " + str(tmp_path / "short.txt") + ", window: 256, windows: null}")
    assert "0 windows of 256" in message


def test_more_windows_than_there_are(refused):
    assert "expected 100000 windows" in refused("problem.search_text.windows=100000")


def test_the_same_tokens_under_two_names(refused, tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("The same text under two names. " * 200)
    texts = ("search_text", "report_text")
    given = [
        f"problem.{role}={{source: {tmp_path / name}, window: 64, windows: 4}}"
        for role, name in zip(texts, ("a.txt", "b.txt"), strict=True)
    ]
    assert "holds passages of the search_text" in refused(*given)


def test_a_report_text_that_calibrated_under_another_name(refused, tmp_path):
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("The same text under two names. " * 200)
    texts = ("calibration_text", "report_text")
    given = [
        f"problem.{role}={{source: {tmp_path / name}, window: 64, windows: 4}}"
        for role, name in zip(texts, ("a.txt", "b.txt"), strict=True)
    ]
    assert "holds passages of the calibration_text" in refused(*given, "problem.score=wanda")


def test_pickled_weights_are_not_read(refused, tmp_path):
    given = saved(AutoModelForCausalLM.from_pretrained(BUNDLED_WEIGHTS), tmp_path / "model")
    torch.save(load_file(tmp_path / "model" / "model.safetensors"), tmp_path / "model" / "pytorch_model.bin")
    (tmp_path / "model" / "model.safetensors").unlink()
    assert "they are pickled, which may run code" in refused(given)


def test_a_budget_without_a_repair(refused):
    assert "operators.repair: missing" in refused("~operators.repair")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_missing_device(refused):
    assert "no 'cuda:7'" in refused("problem.device=cuda:7")


def test_model_without_prunable_blocks(refused, tmp_path, monkeypatch):
    """Every block list is hidden from the search for one, as in an architecture that has none."""
    config = MambaConfig(vocab_size=4096, hidden_size=16, num_hidden_layers=1, state_size=4)
    monkeypatch.setattr("problems.models.blocks._is_stack", lambda modules: False)
    assert "no list of similar blocks" in refused(saved(MambaForCausalLM(config), tmp_path / "mamba"))
