"""Time and memory of a search against a model's size: ``python -m tests.benchmarks.growth OUT WIDTH BLOCKS [EXPERTS]``.

``python -m tests.benchmarks.growth draw PAGE FIGURE`` draws the table of a page that has the phases of several models.

Makes a random Llama in bfloat16 in the folder OUT, a block a file, with the tokenizer of the bundled model; searches
types of its matrices in three generations of four candidates, on two windows of 16 tokens; exports a .gguf file. With
EXPERTS a Qwen3-MoE of which a token chooses eight, and of which some may go, in Q8_0. Prints each phase's seconds,
memory and bytes read from disk, and the seconds of the bare products of one candidate. A control group sets the limit
of memory; caches stay in OUT.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen3MoeConfig

from evoprune.cli.main import main as evoprune
from evoprune.console.phase import listening
from evoprune.figures import COLOURS, STYLE
from evoprune.problems.language_model.bundled import base
from tests.benchmarks.phases import Phases

_TOKENS, _WINDOWS, _VOCABULARY = 16, 2, 4096


def make(folder: Path, width: int, blocks: int, experts: int) -> int:
    """Write the model into ``folder``, and return how many parameters it has."""
    sizes = {
        "hidden_size": width, "intermediate_size": width * 11 // 4 // 256 * 256, "num_hidden_layers": blocks,
        "num_attention_heads": width // 128, "num_key_value_heads": width // 128, "vocab_size": _VOCABULARY,
        "tie_word_embeddings": True, "dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    config: Any = LlamaConfig(**sizes)
    if experts:
        config = Qwen3MoeConfig(
            **sizes, head_dim=128, num_experts=experts, moe_intermediate_size=width * 3 // 8, norm_topk_prob=True
        )
    folder.mkdir(parents=True)
    config.architectures = ["Qwen3MoeForCausalLM" if experts else "LlamaForCausalLM"]
    config.save_pretrained(folder)
    for each in Path(base.__file__).parent.glob("weights/tokenizer*"):
        shutil.copy(each, folder)
    with torch.device("meta"):
        shapes = {name: own.shape for name, own in AutoModelForCausalLM.from_config(config).named_parameters()}
    files: dict[str, list[str]] = {}
    for name in shapes:
        number = name.split(".")[2] if ".layers." in name else "ends"
        files.setdefault(f"model-{number}.safetensors", []).append(name)
    for file, names in files.items():
        tensors = {
            name: torch.randn(shapes[name], dtype=torch.bfloat16) / width**0.5
            if len(shapes[name]) > 1
            else torch.ones(shapes[name], dtype=torch.bfloat16)
            for name in names
        }
        save_file(tensors, folder / file, {"format": "pt"})
    index = {name: file for file, names in files.items() for name in names}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return sum(shape.numel() for name, shape in shapes.items() if name != "lm_head.weight")


def products(folder: Path) -> float:
    """The seconds of the products of one block's matrices with all tokens of a candidate, times the blocks."""
    config = AutoConfig.from_pretrained(folder)
    width, tokens = config.hidden_size, _TOKENS * _WINDOWS
    shapes, inner = 4 * [(tokens, width, width)], config.intermediate_size
    if experts := getattr(config, "num_experts", 0):
        inner, tokens = config.moe_intermediate_size, max(1, tokens * config.num_experts_per_tok // experts)
    shapes += max(1, experts) * [(tokens, width, inner), (tokens, width, inner), (tokens, inner, width)]
    seconds = 0.0
    for count, inputs, outputs in shapes:
        given, weight = torch.randn(count, inputs, dtype=torch.bfloat16), torch.randn(outputs, inputs).bfloat16()
        begun = time.process_time()
        torch.nn.functional.linear(given, weight)
        seconds += time.process_time() - begun
    return seconds * int(config.num_hidden_layers)


def main(out: Path, width: int, blocks: int, experts: int = 0) -> None:
    torch.manual_seed(0)
    model = out / "model"
    weights = make(model, width, blocks, experts)
    print(f"{weights:,} parameters", flush=True)
    os.environ["EVOPRUNE_CACHE"] = str(out / "cache")
    (out / "cache").mkdir(mode=0o700, exist_ok=True)
    text = {"source": "bundled:python-docs", "window": _TOKENS, "windows": _WINDOWS}
    types = {"use": "types", "types": ["Q8_0", "Q4_0"]}
    problem = {
        "use": "language_model", "model": str(model), "objective": "kl", "dtype": "bfloat16",
        "transforms": [types], "budget": {"use": "bits_per_weight", "at_most": 6.0},
        "search_text": {**text, "split": "validation"}, "calibration_text": {**text, "split": "train", "windows": 1},
        "report_text": {**text, "split": "test"},
    }  # fmt: skip
    if experts:
        problem["transforms"] = [{"use": "experts", "genes": "model"}, types | {"types": ["Q8_0"]}]
        problem["budget"] = {"use": "bytes", "at_most": weights}
    operators = {"algorithm": {"use": "additive", "screening": 1.0, "offspring": 4, "survivors": 1}, "repair": "shift"}
    experiment = {"problem": problem, "operators": operators, "generations": 3, "seed": 0}
    (out / "growth.yaml").write_text(json.dumps(experiment))
    phases = Phases()
    with listening(phases.tell):
        evoprune(["run", str(out / "growth.yaml"), "--runs-dir", str(out), "--name", "run", "--threads", "1"])
        evoprune(["export", str(out / "run"), str(out / "small.gguf"), "--untimed"])
        phases.tell("ending")
    print(phases.table())
    print(f"bare products of a candidate: {products(model):.1f} seconds of the processor")


def draw(page: str, out: str) -> None:
    """Draw the table in ``page`` whose columns are ``phase`` and sizes of models, such as ``1.24 billion``."""
    lines = page[page.index("| phase | 88 million") :].partition("\n\n")[0].splitlines()
    names, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    units = {"million": 1e6, "billion": 1e9}
    sizes = [float(name.split()[0]) * units[name.split()[1]] for name in names[1:]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        time, memory = figure.subplots(1, 2, width_ratios=[2, 1])
        for colour, (phase, *cells) in zip(COLOURS, rows, strict=False):
            values = [
                sum(float(part) for part in cell.split(",") if part.strip(" .0123456789") == "") for cell in cells
            ]
            axes = memory if "GB" in phase else time
            axes.plot(sizes, values, "o:" if "products" in phase else "o-", color=colour, label=phase.partition(":")[0])
        for axes, unit in ((time, "seconds of the processor"), (memory, "GB of anonymous memory at most")):
            axes.set(xscale="log", yscale="log", xlabel="parameters", ylabel=unit)
            axes.set_xticks(sizes, names[1:] if axes is time else [f"{size / 1e9:.2g} G" for size in sizes])
            axes.set_xlim(sizes[0] / 1.5, 1.5 * sizes[-1])
            for ticks, own in (([1, 10, 100, 1000], time), ([0.5, 1, 2, 4, 8], memory)):
                own.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        time.set_title("Random Llamas: time against size")
        memory.set_title("memory, of 6 GB")
        figure.legend(*time.get_legend_handles_labels(), fontsize="small", loc="outside right upper")
        figure.savefig(out, dpi=150)


if __name__ == "__main__":
    if sys.argv[1] == "draw":
        draw(Path(sys.argv[2]).read_text(encoding="utf-8"), sys.argv[3])
    else:
        main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
