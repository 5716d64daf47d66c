"""The types of presets are those that llama.cpp's quantiser writes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from gguf import GGUFReader

from evoprune import InputError
from problems.gguf import dry_run
from problems.gguf.names import find_slots
from problems.gguf.presets import presets
from problems.gguf.write import Contents, contents
from tests.problems.gguf.models import base_of, random_llama, write_model

QUANTISE = """
import sys
from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib
params = get_ffi().new("llama_model_quantize_params *")
params[0] = get_lib().llama_model_quantize_default_params()
params.ftype = int(sys.argv[1])
raise SystemExit(get_lib().llama_model_quantize(sys.argv[2].encode(), sys.argv[3].encode(), params))
"""


@pytest.mark.parametrize("name", ["Q8_0", "Q4_K_M", "Q3_K_L", "IQ4_NL"])
def test_a_file_that_llama_quantises_has_these_types(name, tmp_path):
    model = random_llama(tied=False)
    base = base_of(model)
    written = tmp_path / "quantised.gguf"
    given = [str(dry_run.PRESETS[name]), write_model(model, tmp_path / "dense.gguf"), written]
    subprocess.run([sys.executable, "-c", QUANTISE, *given], check=True, capture_output=True)
    tensors = {slot.name: slot.parameter for slot in find_slots(model, base.architecture)}
    kinds = {tensors[tensor.name]: tensor.tensor_type.name for tensor in GGUFReader(written).tensors}
    matrices = {parameter: kind for parameter, kind in kinds.items() if kind != "F32"}
    assert presets(model, base, importance=False)[name] == matrices
    assert set(matrices.values()) <= {"Q8_0", "Q5_1", "Q5_0", "Q4_0", "IQ4_NL"}  # widths of 64 and 96 have no K-types


def test_with_an_importance_matrix_some_presets_give_fewer_bits():
    model = random_llama(blocks=8)
    without, with_it = (presets(model, base_of(model), importance)["Q4_0"] for importance in (False, True))
    changed = {parameter for parameter, kind in with_it.items() if without[parameter] != kind}
    assert {with_it[parameter] for parameter in changed} == {"Q4_1"}
    assert {without[parameter] for parameter in changed} == {"Q4_0"}


def test_the_outline_has_the_header_and_the_bytes_of_the_file(tmp_path):
    model = random_llama()
    held: Contents = contents(model, base_of(model), {})
    held.write(tmp_path / "whole.gguf")
    held.write_outline(tmp_path / "outline.gguf")
    whole, outline = ((tmp_path / f"{name}.gguf").read_bytes() for name in ("whole", "outline"))
    header = min(tensor.data_offset for tensor in GGUFReader(tmp_path / "whole.gguf").tensors)
    assert len(whole) == len(outline)
    assert whole[:header] == outline[:header]
    assert not any(outline[header:])


def test_a_model_that_llama_cannot_read_is_refused_with_its_reason(monkeypatch):
    model = random_llama()
    monkeypatch.setattr(Contents, "write_outline", lambda _, path: path.write_bytes(b"nothing"))
    with pytest.raises(InputError, match=r"^llama\.cpp does not say what its presets are: .+"):
        presets(model, base_of(model), importance=False)


def test_a_dry_run_that_ends_without_a_word_is_told_by_its_exit_code(monkeypatch):
    model = random_llama()
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(InputError, match="exit code 1"):
        presets(model, base_of(model), importance=False)
