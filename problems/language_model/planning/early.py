"""Mistakes that ``prune`` refuses within a second: in options, packages and headers of files. Imports no torch."""

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

from evoprune import InputError
from evoprune.exports.exporting import is_one_file
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.sources import ONE_WIDTH_IN_ALL, cuts_of
from evoprune.problems.language_model.models.settings import ModelSettings, model_fault
from evoprune.problems.language_model.models.weight_files import Stored, bytes_of, stored_tensors, weight_files
from evoprune.problems.language_model.planning.fits import Fits
from evoprune.problems.language_model.planning.recipe import Recipe
from evoprune.problems.language_model.planning.sizes import Bits, Size
from evoprune.problems.language_model.planning.vocabulary import OPTION
from evoprune.problems.language_model.problem import LanguageModel
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.texts.settings import TextSettings, text_fault
from evoprune.problems.language_model.texts.tasks import KINDS, is_task, task_fault

_LEAST_TEXT = 10_000  # bytes: no text with fewer has the tokens of all windows, as 2 bytes a token are rare
_PATIENCE = 5.0  # seconds for the hub's answer
_TOKENS = 0.5  # share of the tokens that go before heads and channels do
_LISTED = 100  # bytes of a header for each tensor, at most
_BLOCKS, _MLPS = re.compile(r"\.\d+\."), re.compile(r"\.\d+\.(ffn|mlp)")  # tensors in a block, or in its MLP


def refuse_mistakes(options: argparse.Namespace, recipe: Recipe | None) -> None:
    """Raise InputError for options that cannot work, packages that are missing, and a model that is not there."""
    one_file = options.out is not None and is_one_file(LanguageModel, options.out)
    if options.base and not one_file:
        raise InputError("is for --out FILE.gguf", "--base")
    if isinstance(recipe, Bits | Fits) and not one_file:
        raise InputError("is for --out FILE.gguf", recipe.option)
    if options.context < 1:
        raise InputError(f"expected 1 or more, got {options.context}", "--context")
    if options.seed < 0:
        raise InputError(f"expected 0 or more, got {options.seed}", "--seed")
    _refuse_text(options.text, "--text", _LEAST_TEXT)
    _refuse_text(options.vocabulary, OPTION, 1)
    for also, _ in options.also or ():
        _refuse_text(also, "--also", 1)
    _refuse_task(options)
    settings = ModelSettings(model=options.model)
    if fault := model_fault(settings.model):
        raise InputError(fault, "MODEL")
    for path in (settings.model, options.base or ""):
        if path.endswith(".gguf") and not (find_spec("gguf") and find_spec("accelerate")):
            raise InputError("reading it needs more packages; pip install 'evoprune[gguf]'", path)
    if one_file and (lacking := ggml.missing()):
        raise InputError(lacking, str(options.out))
    files = weight_files(settings)
    if not files:
        _refuse_unless_on_hub(settings.model)
    if absent := [path.name for path in files if not path.is_file()]:
        raise InputError(f"lacks {', '.join(absent)}; copy or download the model again", settings.model)


def refuse_files(options: argparse.Namespace, recipe: Recipe | None) -> None:
    """Raise InputError for files of weights that are not whole, and a size that they have already or that is too small.

    Their headers are read, so that all else should be in order.
    """
    files = weight_files(ModelSettings(model=options.model))
    stored = _stored_in(files)
    if isinstance(recipe, Size) and stored and not options.vocabulary:
        one_file = options.out is not None and is_one_file(LanguageModel, options.out)
        whole = one_file and cuts_of(options.model, options.base) == ONE_WIDTH_IN_ALL
        _refuse_size(recipe, files, stored, one_file, _MLPS if whole else _BLOCKS)


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


def _refuse_text(text: str | None, option: str, least: int) -> None:
    if text is None:
        return
    try:
        settings = TextSettings(source=text)
    except ValueError:
        raise InputError("cannot be read", option) from None
    if fault := text_fault(settings):
        raise InputError(fault, option)
    if settings.is_bundled:
        return
    if not settings.is_local:
        raise InputError(f"{text}: no such file; expected a .txt, .jsonl or .parquet file", option)
    size = Path(text).stat().st_size
    if size < least and Path(text).suffix != ".parquet":  # which is compressed
        raise InputError(
            f"{text} has {size:,} bytes; expected about {max(1, least // 500)} kB of English, or more", option
        )


def _refuse_task(options: argparse.Namespace) -> None:
    if options.text and is_task(TextSettings(source=options.text)):
        raise InputError(f"{options.text} is a task file: expected it after --task", "--text")
    if options.task is None:
        return
    _refuse_text(options.task, "--task", 1)
    settings = TextSettings(source=options.task)
    if not is_task(settings):
        raise InputError(f"{options.task}: expected a .jsonl file with {', or '.join(KINDS.values())}", "--task")
    if fault := task_fault(settings):
        raise InputError(fault, "--task")
    if options.vocabulary:
        raise InputError("the answers of --task are scored in all tokens: give one of both", OPTION)


def _refuse_unless_on_hub(name: str) -> None:
    """Raise InputError unless the hub has the model ``name`` and says so in time."""
    import huggingface_hub  # slow to import
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

    def ask() -> None:
        try:
            huggingface_hub.HfApi().model_info(name, timeout=_PATIENCE)
        except Exception as error:  # of HTTP, of the network, of the hub's rules
            faults[:] = [error]
        else:
            faults.clear()

    faults: list[Exception] = [TimeoutError(f"no answer in {_PATIENCE:.0f} s")]
    asking = Thread(target=ask, daemon=True)  # resolving a name has no time limit of its own
    asking.start()
    asking.join(_PATIENCE)
    if not (found := list(faults)):
        return
    if isinstance(found[0], RepositoryNotFoundError | ValueError):  # not there, or no name for it
        why = "no such folder or file, and no such model on the hub"
    elif isinstance(found[0], OfflineModeIsEnabled):
        why = "no such folder or file, nor in the hub's cache, and HF_HUB_OFFLINE is set"
    else:
        reason = next((line for line in str(found[0]).splitlines() if line.strip()), type(found[0]).__name__)
        why = f"no such folder or file, nor in the hub's cache, and the hub cannot be reached ({reason})"
    raise InputError(f"{why}; give a folder or a .gguf file", name)


def _refuse_size(
    recipe: Size, files: Sequence[Path], stored: Mapping[str, Stored], one_file: bool, cut: re.Pattern[str]
) -> None:
    """Raise InputError if the model is as small as it should become, or nothing that ``recipe`` does makes it so.

    ``cut``: matches the names of tensors that can go.
    """
    bits = 8 / sum(each.size for each in stored.values())
    whole, limit = bytes_of(files), recipe.value / bits if isinstance(recipe, Bits) else recipe.value

    def told(size: float) -> str:
        if isinstance(recipe, Bits):
            return f"{size * bits:.2f} bits a weight"
        return megabytes(size)

    if whole <= limit:
        raise InputError(f"is met already: {files[0].name} has {told(whole)}", recipe.option)
    least = _least_bytes(files, stored, one_file, cut)
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
