"""A script: asks llama.cpp which type each of its presets gives each tensor of a .gguf file, and prints it as JSON.

``python dry_run.py FILE IMPORTANCE``: a file in 16 bits, of which the header alone is read; IMPORTANCE is ``true`` if
there will be an importance matrix, as some presets then choose other types. By the name of the preset it prints the
types by the names of the tensors that are quantised. It imports nothing of evoprune: llama.cpp may end the process.
"""

import json
import re
import sys
from typing import Any

from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

PRESETS = {
    "Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q5_K_S": 16, "Q5_1": 9, "Q5_0": 8, "Q4_K_M": 15, "Q4_K_S": 14, "Q4_1": 3,
    "Q4_0": 2, "IQ4_NL": 25, "IQ4_XS": 30, "Q3_K_L": 13, "Q3_K_M": 12, "Q3_K_S": 11, "IQ3_M": 27, "IQ3_S": 26,
    "IQ3_XS": 22, "IQ3_XXS": 23, "Q2_K": 10,
}  # fmt: skip
"""llama.cpp's numbers of the presets."""

_TENSOR = re.compile(r"\]\s+(\S+)\s+-\s+\[.*?MiB(?: ->.*\((\w+)\))?")
"""A line of the log: the tensor, and its type where it is quantised."""

_told: list[str] = []


@get_ffi().callback("ggml_log_callback")  # type: ignore[untyped-decorator]
def _log(_level: int, text: Any, _: Any) -> None:
    _told.append(get_ffi().string(text).decode(errors="replace"))


def kinds(file: str, number: int, importance: bool) -> dict[str, str]:
    """The types of a preset, by tensor. Raises RuntimeError where llama.cpp cannot quantise to it."""
    ffi, library = get_ffi(), get_lib()
    params = ffi.new("llama_model_quantize_params *")
    params[0] = library.llama_model_quantize_default_params()
    params.ftype, params.dry_run = number, True
    held = ffi.new("struct llama_model_imatrix_data[]", 2)  # the last one, empty, is the end
    name, values = ffi.new("char[]", b"any tensor"), ffi.new("float[]", [1.0])
    held[0].name, held[0].data, held[0].size = name, values, 1
    if importance:
        params.imatrix = held
    _told.clear()
    library.llama_log_set(_log, ffi.NULL)
    if library.llama_model_quantize(file.encode(), b"unused.gguf", params):
        raise RuntimeError("".join(_told))
    return {tensor: kind.upper() for tensor, kind in _TENSOR.findall("".join(_told)) if kind}


if __name__ == "__main__":
    print(json.dumps({name: kinds(sys.argv[1], number, sys.argv[2] == "true") for name, number in PRESETS.items()}))
