"""A script that runs llama.cpp's quantiser, and prints its findings as JSON: ``python quantiser.py JOB``.

JOB is JSON:

- to list the types of presets: ``file``, in 16 bits (its header is enough), and ``importance``: true if there will be
  an importance matrix, with which some presets choose other types;
- to quantise: ``file``, ``out``, ``preset``, ``threads``, ``importance``, an .npz file of mean squared inputs by
  tensor, and ``others``: ggml's numbers of types by tensor, in place of the preset's.

It imports nothing of evoprune, as :mod:`evoprune.problems.language_model.gguf.llama`.
"""

import json
import re
import sys
from typing import Any

import numpy as np
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

Json = dict[str, Any]
FFI, LIB = get_ffi(), get_lib()

PRESETS = {
    "Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q5_K_S": 16, "Q5_1": 9, "Q5_0": 8, "Q4_K_M": 15, "Q4_K_S": 14, "Q4_1": 3,
    "Q4_0": 2, "IQ4_NL": 25, "IQ4_XS": 30, "Q3_K_L": 13, "Q3_K_M": 12, "Q3_K_S": 11, "IQ3_M": 27, "IQ3_S": 26,
    "IQ3_XS": 22, "IQ3_XXS": 23, "Q2_K": 10, "Q2_K_S": 21, "IQ2_M": 29, "IQ2_S": 28, "IQ2_XS": 20, "IQ2_XXS": 19,
}  # fmt: skip
"""llama.cpp's presets and their numbers."""

_TENSOR = re.compile(r"\]\s+(\S+)\s+-\s+\[.*?MiB(?: ->.*\((\w+)\))?")
"""A line of the quantiser's log: the tensor, and its type if it is quantised."""

_log_lines: list[str] = []  # of llama.cpp


@FFI.callback("ggml_log_callback")  # type: ignore[untyped-decorator]
def _log(_: int, text: Any, __: Any) -> None:
    _log_lines.append(FFI.string(text).decode(errors="replace"))


def preset_kinds(file: str, preset: str, importance: bool) -> dict[str, str]:
    """Return the type of each tensor that a preset quantises. Raises RuntimeError."""
    params = LIB.llama_model_quantize_default_params()
    params.dry_run = True
    log = _quantise(file, "unused.gguf", preset, params, {"any tensor": np.ones(1)} if importance else {})
    return {tensor: kind.upper() for tensor, kind in _TENSOR.findall(log) if kind}


def quantise(job: Json) -> Json:
    """Write the file that ``job`` asks for. Raises RuntimeError."""
    params = LIB.llama_model_quantize_default_params()
    params.nthread, params.allow_requantize = job["threads"], True
    overrides = FFI.new("struct llama_model_tensor_override[]", len(job["others"]) + 1)  # the last one is the end
    patterns = [FFI.new("char[]", f"^{re.escape(tensor)}$".encode()) for tensor in job["others"]]
    for entry, pattern, kind in zip(overrides, patterns, job["others"].values(), strict=False):
        entry.pattern, entry.type = pattern, kind
    if patterns:
        params.tt_overrides = overrides
    _quantise(job["file"], job["out"], job["preset"], params, dict(np.load(job["importance"])))
    return {}


def _quantise(file: str, out: str, preset: str, params: Any, importance: dict[str, Any]) -> str:
    """Let llama.cpp quantise ``file``, and return its log."""
    params.ftype = PRESETS[preset]
    entries = FFI.new("struct llama_model_imatrix_data[]", len(importance) + 1)  # the last one, empty, is the end
    alive = []  # memory of C that the entries point to
    for entry, (tensor, values) in zip(entries, importance.items(), strict=False):
        alive += [FFI.new("char[]", tensor.encode()), FFI.new("float[]", values.ravel().tolist())]
        entry.name, entry.data, entry.size = *alive[-2:], values.size
    if importance:
        params.imatrix = entries
    _log_lines.clear()
    LIB.llama_log_set(_log, FFI.NULL)
    if LIB.llama_model_quantize(file.encode(), out.encode(), FFI.new("llama_model_quantize_params *", params)):
        raise RuntimeError("".join(_log_lines))
    return "".join(_log_lines)


def main(job: Json) -> Json:
    """Do ``job``, and return the findings."""
    if "out" in job:
        return quantise(job)
    return {preset: preset_kinds(job["file"], preset, job["importance"]) for preset in PRESETS}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
