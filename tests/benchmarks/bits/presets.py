"""The types that llama-quantize gives each matrix: llama.cpp itself says so, in a dry run.

``python presets.py DENSE.gguf IMPORTANCE.npz NUMBER`` prints llama.cpp's log; the package imports it for the rest.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy

PRESETS = {
    "Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q5_K_S": 16, "Q5_1": 9, "Q5_0": 8, "Q4_K_M": 15, "Q4_K_S": 14, "Q4_1": 3,
    "Q4_0": 2, "IQ4_NL": 25, "IQ4_XS": 30, "Q3_K_L": 13, "Q3_K_M": 12, "Q3_K_S": 11,
}  # fmt: skip
"""llama.cpp's numbers of the presets."""

_TENSOR = re.compile(r"\]\s+(\S+)\s+-\s+\[.*?MiB(?: ->.*\((\w+)\))?")
"""A line of the log: the tensor, and its type where it is quantised."""


def presets(dense: Path, importance: dict[str, numpy.ndarray]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each preset, and the types of the tensors that it quantises, by the names in the file ``dense`` in 16 bits.

    ``importance``: of the inputs of tensors, by these names.
    """
    with tempfile.TemporaryDirectory() as scratch:
        known = Path(scratch) / "importance.npz"
        numpy.savez(known, allow_pickle=False, **importance)
        for name, number in PRESETS.items():
            command = [sys.executable, "-P", __file__, str(dense), str(known), str(number)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = _TENSOR.findall(done.stdout + done.stderr)
            yield name, {tensor: kind.upper() for tensor, kind in found if kind}


def _log(dense: str, importance: str, number: str) -> None:
    from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

    ffi, library = get_ffi(), get_lib()
    params = ffi.new("llama_model_quantize_params *")
    params[0] = library.llama_model_quantize_default_params()
    params.ftype, params.dry_run = int(number), True
    known = dict(numpy.load(importance))
    held = ffi.new("struct llama_model_imatrix_data[]", len(known) + 1)  # the last one, empty, is the end
    kept = []
    for place, (name, values) in enumerate(known.items()):
        kept += [ffi.new("char[]", name.encode()), ffi.from_buffer("float[]", values)]
        held[place].name, held[place].data, held[place].size = kept[-2], kept[-1], len(values)
    params.imatrix = held
    if library.llama_model_quantize(dense.encode(), b"unused.gguf", params):
        raise SystemExit("llama.cpp cannot quantise it")


if __name__ == "__main__":
    _log(*sys.argv[1:])
