import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, XGLMConfig, XGLMForCausalLM

from evoprune import InputError
from evoprune.cli import main
from evoprune.problems.language_model.models.load import copy_of, load_model
from evoprune.problems.language_model.models.settings import ModelSettings
from tests.problems.language_model.small import BLOCKS, random_model, save


def settings_of(model, **given):
    return ModelSettings(**{"model": str(model), "dtype": "float32", "device": "cpu"} | given)


def refusal(model):
    with pytest.raises(InputError) as caught:
        load_model(settings_of(model))
    message = str(caught.value)
    assert message.startswith("problem.model: ")
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path):
    """The folder of a GPT-2."""
    save(random_model("gpt2"), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def loaded(tmp_path):
    """A Llama model in bfloat16."""
    return load_model(settings_of(save(random_model("llama"), tmp_path), dtype="bfloat16"))[0]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("bundled:gpt5", "gpt2-mini"),
        ("/nothing/model.gguf", "no such file"),
        ("/nothing", "no such folder"),
        ("runs/typo", "runs/typo: no such folder"),  # none of these is looked up on the hub
        ("./typo", "typo: no such folder"),
        ("no/such/folder", "no/such/folder: no such folder"),
    ],
)
def test_a_model_that_is_not_there_is_refused(model, said):
    assert said in refusal(model)


@pytest.mark.usefixtures("offline")
def test_an_unreachable_hub_is_told_in_one_line():
    assert "local folder" in refusal("evoprune/there-is-no-such-model")


def test_a_folder_that_lacks_something_of_a_model(folder, tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    assert f"{made} holds no config.json" in refusal(made)
    (made / "small.gguf").touch()
    assert f"give the file, {made / 'small.gguf'}" in refusal(made)
    (made / "config.yaml").touch()
    assert "python -m evoprune export" in refusal(made)
    (made / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert "*.safetensors" in refusal(made)
    (made / "pytorch_model.bin").touch()
    assert "pickled" in refusal(made)
    (made / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert "tokenizer.json" in refusal(made)


def test_a_model_that_cannot_be_read_ends_a_run_with_one_line_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not really")
    given = ["--runs-dir", str(tmp_path / "runs"), "--set", f"problem.model={tmp_path / 'broken.gguf'}"]
    assert main(["run", "problems/gpt2_mini.yaml", *given]) == 2
    (message,) = (line for line in capsys.readouterr().err.splitlines() if "problem.model" in line)
    assert message.startswith("evoprune: ")
    assert not (tmp_path / "runs").exists()


def test_weights_that_are_missing_or_of_another_shape_or_not_finite(folder):
    weights = load_file(folder / "model.safetensors")
    name = "transformer.h.2.mlp.c_fc.weight"
    weights[name][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert name in refusal(folder)
    for gone in (name, "transformer.h.0.attn.c_proj.bias"):
        del weights[gone]
    weights["transformer.ln_f.bias"] = torch.zeros(3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    message = refusal(folder)
    assert f"transformer.h.0.attn.c_proj.bias, {name}, transformer.ln_f.bias (3,) for (64,)" in message
    assert "lm_head" not in message  # it is tied


@pytest.mark.parametrize(
    ("architecture", "constant"),
    [
        ("gpt2", "transformer.h.0.attn.masked_bias"),
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("opt", "model.decoder.version"),
        ("gpt_neox", "gpt_neox.layers.0.attention.bias"),
        ("xglm", "model.embed_positions.weights"),
    ],
)
def test_weights_that_the_config_leaves_out_are_refused_and_constants_of_old_files_are_not(
    tmp_path, architecture, constant
):
    small = XGLMConfig(vocab_size=9, d_model=16, num_layers=BLOCKS, ffn_dim=16, attention_heads=2)
    save(XGLMForCausalLM(small) if architecture == "xglm" else random_model(architecture), tmp_path)
    weights, config = load_file(tmp_path / "model.safetensors"), json.loads((tmp_path / "config.json").read_text())
    save_file(weights | {constant: torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    load_model(settings_of(tmp_path))
    (layers,) = {"n_layer", "num_hidden_layers", "num_layers"} & config.keys()
    (tmp_path / "config.json").write_text(json.dumps(config | {layers: BLOCKS - 1}))
    message = refusal(tmp_path)
    assert str(tmp_path) in message
    assert "config.json" in message
    assert f".{BLOCKS - 1}." in message


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", ""),
        ("config.json", "[]"),
        ("tokenizer.json", ""),
        ("tokenizer.json", '{"version": "1.'),
        ("tokenizer.json", "{}"),
        ("tokenizer.json", None),
        ("tokenizer_config.json", "{"),
    ],
)
def test_a_damaged_file_of_a_model_is_named(folder, file, content):
    if content is None:  # an empty vocabulary
        made = json.loads((folder / file).read_text())
        content = json.dumps(made | {"model": made["model"] | {"vocab": {}}})
    (folder / file).write_text(content)
    assert f"{folder}': {file}" in refusal(folder)


def test_more_blocks_than_tensors_are_refused_before_they_are_built(folder, monkeypatch):
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda **_: pytest.fail("built"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_layer": 10**6}))
    assert "1,000,000 blocks but holds 40 tensors" in refusal(folder)
    (folder / "config.json").write_text(json.dumps(config | {"text_config": {"num_hidden_layers": 10**6}}))
    assert "1,000,000 blocks" in refusal(folder)


def test_bfloat16_rounds_the_weights_but_not_the_rotary_frequencies(loaded, tmp_path):
    """As transformers does when it loads in bfloat16 itself."""
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    buffers = dict(theirs.named_buffers())
    assert buffers
    for name, buffer in loaded.named_buffers():
        assert buffer.dtype == torch.float32
        assert torch.equal(buffer, buffers[name])


def test_a_copy_has_the_same_weights_and_rotary_frequencies_in_memory_of_its_own(loaded):
    copied = copy_of(loaded, torch.bfloat16)
    for tensors in ("named_parameters", "named_buffers"):
        own, others = dict(getattr(copied, tensors)()), dict(getattr(loaded, tensors)())
        assert own.keys() == others.keys()
        for name, tensor in own.items():
            assert tensor.dtype == others[name].dtype
            assert torch.equal(tensor, others[name])
            assert tensor.data_ptr() != others[name].data_ptr()


def test_a_copy_and_transformers_own_model_predict_the_same(loaded, tmp_path):
    """Else a search would measure another model than the one that is trained and exported."""
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    tokens = torch.arange(2 * 16).view(2, 16) % loaded.config.vocab_size
    with torch.inference_mode():
        logits, *others = (model(tokens).logits for model in (loaded, copy_of(loaded, torch.bfloat16), theirs))
    assert all(torch.equal(logits, other) for other in others)
