"""The command tells what is kept, and deletes it."""

import numpy
import pytest
from safetensors.numpy import save_file

from evoprune.files.cache import CachedFile, entries


@pytest.fixture
def kept():
    """Levels of two models, and a damaged file."""
    for number, model in enumerate(("small", "large")):
        about = {"what": "levels: gblm by matrix", "model": f"models/{model}"}
        file = CachedFile(model)
        file.make(lambda path, about=about, size=1000 * 50**number: save_file({"x": numpy.zeros(size)}, path, about))
        file.release()
    file = CachedFile("spoiled")
    file.make(lambda path: path.write_bytes(bytes(10)))
    file.release()


def test_it_lists_what_there_is(kept, evoprune, cache):
    answer = evoprune("cache")
    assert answer.code == 0
    _, *lines, total = answer.out.splitlines()
    rows = {line.split()[-4]: line for line in lines}
    assert "levels: gblm by matrix" in rows["models/large"]
    assert "400kB" in rows["models/large"]
    assert sum("damaged" in line for line in lines) == 1
    assert total.startswith("3 files, 408kB of at most ")
    assert total.endswith(f"in {cache}")


def test_it_deletes_what_nobody_uses(kept, evoprune):
    held = CachedFile("large")
    answer = evoprune("cache", "--clear")
    assert answer.code == 0
    assert answer.out.startswith("deleted: 2 files, 8.")
    assert [entry.path.stem for entry in entries()] == ["large"]
    held.release()
    assert "0 files, 0" in evoprune("cache", "--clear").out.splitlines()[-1]
