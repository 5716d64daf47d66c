"""The reader of .gguf files against that of the package gguf."""

import gguf
import numpy as np
import pytest
from transformers.integrations.ggml import _gguf_parse_value

from evoprune import InputError
from evoprune.problems.language_model.gguf.reader import read_as_package, read_gguf


@pytest.fixture
def path(tmp_path):
    """A file with a value of each type, and tensors of several dimensions and kinds."""
    writer = gguf.GGUFWriter(tmp_path / "all.gguf", "llama")
    for kind in gguf.GGUFValueType:
        if kind.name not in {"ARRAY", "STRING"}:
            writer.add_key_value(f"one.{kind.name}", 1, kind)
            writer.add_key_value(f"some.{kind.name}", [1, 0, 1], gguf.GGUFValueType.ARRAY, kind)
    writer.add_string("text", "ünïcode")
    writer.add_array("texts", ["", "Ġa", "b" * 300])
    random = np.random.default_rng(0)
    writer.add_tensor("vector", random.normal(size=5).astype(np.float32))
    writer.add_tensor("matrix", random.normal(size=(3, 7)).astype(np.float16))
    writer.add_tensor("cube", random.normal(size=(2, 3, 4)).astype(np.float32))
    quantised = gguf.quants.quantize(random.normal(size=(2, 64)), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("quantised", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return tmp_path / "all.gguf"


def test_reads_as_the_package_does(path):
    found, expected = read_gguf(path), gguf.GGUFReader(path)
    fields = {key: each for key, each in expected.fields.items() if not key.startswith("GGUF.")}
    assert {key: each.value for key, each in found.fields.items()} == {
        key: each.contents() for key, each in fields.items()
    }
    assert all(each.type == fields[key].types[0] for key, each in found.fields.items())
    assert all(each.sub_type in (None, fields[key].types[-1]) for key, each in found.fields.items())
    assert [*found.tensors] == [tensor.name for tensor in expected.tensors]
    for tensor in expected.tensors:
        own = found.tensors[tensor.name]
        assert (own.kind, own.size) == (tensor.tensor_type.name, tensor.n_elements)
        assert own.shape == tuple(tensor.shape.tolist()[::-1])
        assert own.data.tobytes() == tensor.data.tobytes()


def test_a_file_that_ends_early_is_refused_wherever_it_ends(path):
    whole = path.read_bytes()
    for size in range(0, len(whole) - gguf.GGUF_DEFAULT_ALIGNMENT, 37):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"all\.gguf: .*(truncated|incomplete)"):
            read_gguf(path)


def test_a_tensor_without_values_is_named(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "some.gguf", "llama")
    writer.add_tensor("whole", np.ones((4, 32), dtype=np.float32))
    writer.add_tensor("empty", np.ones((0, 32), dtype=np.float32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    with pytest.raises(InputError, match=r"some\.gguf: .*empty"):
        read_gguf(tmp_path / "some.gguf")


def test_transformers_reads_the_same_in_its_place(path):
    def parsed(field):
        return [_gguf_parse_value(field.parts[place], field.types) for place in field.data]

    expected = gguf.GGUFReader(path)
    with read_as_package():
        found = gguf.GGUFReader(path)
    assert type(gguf.GGUFReader(path)) is type(expected) is not type(found)
    fields = {key: each for key, each in expected.fields.items() if not key.startswith("GGUF.")}
    assert [*map(parsed, found.fields.values())] == [*map(parsed, fields.values())]
    assert [*found.fields] == [*fields]
    for own, tensor in zip(found.tensors, expected.tensors, strict=True):
        values = [gguf.dequantize(each.data, each.tensor_type) for each in (own, tensor)]
        np.testing.assert_array_equal(*values, strict=True)
