"""The smallest files that can come of a model, told by the headers of its files. Imports no torch."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.weight_files import Stored, bytes_of, stored_tensors, weight_files
from evoprune.problems.language_model.prune.goals import Bits, Size
from evoprune.problems.language_model.results.summary import megabytes

_TOKENS = 0.5  # share of the tokens that go before heads and channels do
_LISTED = 100  # bytes of a header for each tensor, at most
_BLOCKS, _MLPS = re.compile(r"\.\d+\."), re.compile(r"\.\d+\.(ffn|mlp)")  # tensors in a block, or in its MLP


def least_bytes(settings: ModelSettings, tokens: int = 0) -> float:
    """Return about the bytes of the smallest .gguf file of all weights of a model; 0 if it has no files here.

    ``tokens``: rows of embedding and head, if tokens may be left out: half of them is little harm.
    """
    files = weight_files(settings)
    if not (stored := _stored_in(files)):
        return 0.0
    rows = sum(each.size for each in stored.values() if each.shape[:1] == (tokens,))
    left = 1 - _TOKENS * rows / sum(each.size for each in stored.values())
    return left * _least_bytes(files, stored, one_file=True, cut=None)


def larger_than_source(settings: ModelSettings, parameters: int, experiment: Mapping[str, Any]) -> str | None:
    """Return a remark if ``experiment`` may make more bytes of ``parameters``, in 16 bits, than its source has."""
    problem = experiment["problem"]
    if "'types'" in repr(problem.get("transforms")) or problem.get("budget", {}).get("use") == "bytes":
        return None
    whole, made = bytes_of(weight_files(settings)), 2.0 * parameters
    if not settings.model.endswith(".gguf") or made <= whole:
        return None
    return (
        f"the result is in 16 bits, about {megabytes(made)} before anything is removed, where {settings.model} has "
        f"{megabytes(whole)}: it may be larger; --size, --remove and --speedup with --out FILE.gguf keep its types"
    )


def _stored_in(files: Sequence[Path]) -> dict[str, Stored]:
    return {name: found for path in files for name, found in stored_tensors(path).items()}


def refuse_size(recipe: Size, settings: ModelSettings, one_file: bool, whole_blocks: bool) -> None:
    """Raise InputError if a model with files here is that small, or nothing that ``recipe`` does makes it so.

    ``whole_blocks``: whether MLPs alone can lose their weights, as no block can be left out.
    """
    files = weight_files(settings)
    if not (stored := _stored_in(files)):
        return
    bits = 8 / sum(each.size for each in stored.values())
    whole, limit = bytes_of(files), recipe.value / bits if isinstance(recipe, Bits) else recipe.value

    def told(size: float) -> str:
        if isinstance(recipe, Bits):
            return f"{size * bits:.2f} bits a weight"
        return megabytes(size)

    if whole <= limit:
        raise InputError(f"is met already: {files[0].name} has {told(whole)}", recipe.option)
    least = _least_bytes(files, stored, one_file, _MLPS if whole_blocks else _BLOCKS)
    if least <= limit:
        return
    if one_file:
        raise InputError(
            f"types of GGUF and cuts of blocks make this model no smaller than {told(least)}", recipe.option
        )
    raise InputError(
        f"fewer heads, channels or experts make it no smaller than {told(least)}, those of its embeddings in 16 bits; "
        "--out FILE.gguf stores them in fewer",
        recipe.option,
    )


def _least_bytes(
    files: Sequence[Path], stored: Mapping[str, Stored], one_file: bool, cut: re.Pattern[str] | None
) -> float:
    """The fewest bytes that can come of a model, or fewer: not all files say which tensors are weights.

    ``cut``: matches the names of tensors that may go; None for none.
    """
    is_gguf = files[0].suffix == ".gguf"
    if not is_gguf and any(each.kind not in ggml.FLOATS for each in stored.values()):
        return 0.0  # the shapes are those of packed codes
    head = () if is_gguf else ("lm_head.", "embed_out.")  # which may be the embedding
    own = {name: each for name, each in stored.items() if len(each.shape) > 1 and not name.startswith(head)}
    gone = {name for name in stored if cut and cut.search(name)}
    left = {name: each for name, each in own.items() if name not in gone}
    if not one_file:
        return sum(2.0 * each.size for each in left.values())
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    def bytes_in(kind: str, each: Stored) -> float:
        weights, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
        widths = each.shape[-1:] if is_gguf else each.shape  # GPT-2's matrices are transposed in its folders
        return each.size / weights * size if any(width % weights == 0 for width in widths) else math.inf

    header = bytes_of(files) - sum(bytes_in(each.kind, each) for each in stored.values()) if is_gguf else 0.0
    least = sum(min(bytes_in(kind, each) for kind in (*ggml.COMMON, "F16")) for each in left.values())
    vectors = (each for name, each in stored.items() if len(each.shape) == 1 and name not in gone)
    return header - _LISTED * len(gone) + least + sum(4.0 * each.size for each in vectors)
