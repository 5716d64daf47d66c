"""Time and memory of a search against a model's size: ``python -m tests.benchmarks.growth OUT WIDTH BLOCKS``.

Makes a random Llama in bfloat16 in the folder OUT, a block a file, with the tokenizer of the bundled model; searches
types of its matrices in three generations of four candidates, on two windows of 16 tokens; exports a .gguf file. Prints
each phase's seconds, memory and bytes read from disk, and the seconds of the bare products of one candidate. A control
group sets the limit of memory; caches stay in OUT.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from evoprune.cli.main import main as evoprune
from evoprune.console.phase import listening
from evoprune.problems.language_model.models.weight_files import BUNDLED_WEIGHTS
from tests.benchmarks.common import cpu_seconds
from tests.benchmarks.phases import Phases

_TOKENS, _WINDOWS, _VOCABULARY = 16, 2, 4096


def make(folder: Path, width: int, blocks: int) -> int:
    """Write the model into ``folder``, and return the number of its parameters."""
    sizes = {
        "hidden_size": width, "intermediate_size": width * 11 // 4 // 256 * 256, "num_hidden_layers": blocks,
        "num_attention_heads": width // 128, "num_key_value_heads": width // 128, "vocab_size": _VOCABULARY,
        "tie_word_embeddings": True, "dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    config = LlamaConfig(**sizes)
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    for each in BUNDLED_WEIGHTS.glob("tokenizer*"):
        shutil.copy(each, folder)
    with torch.device("meta"):
        shapes = {name: own.shape for name, own in AutoModelForCausalLM.from_config(config).named_parameters()}
    files: dict[str, list[str]] = {}
    for name in shapes:
        files.setdefault(f"model-{name.split('.')[2] if '.layers.' in name else 'ends'}.safetensors", []).append(name)
    for file, names in files.items():
        save_file({name: _random(shapes[name], width) for name in names}, folder / file, {"format": "pt"})
    index = {name: file for file, names in files.items() for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return sum(shape.numel() for name, shape in shapes.items() if name != "lm_head.weight")


def _random(shape: torch.Size, width: int) -> torch.Tensor:
    if len(shape) == 1:  # a norm
        return torch.ones(shape, dtype=torch.bfloat16)
    return torch.randn(shape, dtype=torch.bfloat16) / width**0.5


def products(folder: Path) -> float:
    """Return the seconds of the products of one block's matrices with all tokens of a candidate, times the blocks."""
    config = AutoConfig.from_pretrained(folder)
    width, tokens = config.hidden_size, _TOKENS * _WINDOWS
    shapes, inner = 4 * [(tokens, width, width)], config.intermediate_size
    shapes += [(tokens, width, inner), (tokens, width, inner), (tokens, inner, width)]
    seconds = 0.0
    for count, inputs, outputs in shapes:
        factors = torch.randn(count, inputs).bfloat16(), torch.randn(outputs, inputs).bfloat16()
        seconds += cpu_seconds(torch.nn.functional.linear, *factors)
    return seconds * int(config.num_hidden_layers)


def main(out: Path, width: int, blocks: int) -> None:
    """Make the model, search it, and print the table."""
    torch.manual_seed(0)
    (out / "model").mkdir(parents=True)
    weights = make(out / "model", width, blocks)
    print(f"{weights:,} parameters", flush=True)
    os.environ["EVOPRUNE_CACHE"] = str(out / "cache")
    (out / "cache").mkdir(mode=0o700, exist_ok=True)
    text = {"source": "bundled:python-docs", "window": _TOKENS, "windows": _WINDOWS}
    problem = {
        "use": "language_model", "model": str(out / "model"), "objective": "kl", "dtype": "bfloat16",
        "transforms": [{"use": "types", "types": ["Q8_0", "Q4_0"]}],
        "budget": {"use": "bits_per_weight", "at_most": 6.0},
        "search_text": {**text, "split": "validation"}, "calibration_text": {**text, "split": "train", "windows": 1},
        "report_text": {**text, "split": "test"},
    }  # fmt: skip
    operators = {"algorithm": {"use": "additive", "screening": 1.0, "offspring": 4, "survivors": 1}, "repair": "shift"}
    experiment = {"problem": problem, "operators": operators, "generations": 3, "seed": 0}
    (out / "growth.yaml").write_text(json.dumps(experiment))
    phases = Phases()
    with listening(phases.tell):
        evoprune(["run", str(out / "growth.yaml"), "--runs-dir", str(out), "--name", "run", "--threads", "1"])
        evoprune(["export", str(out / "run"), str(out / "small.gguf"), "--untimed"])
        phases.tell("ending")
    print(phases.table())
    print(f"bare products of a candidate: {products(out / 'model'):.1f} seconds of the processor")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
