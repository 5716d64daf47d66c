"""Files are written whole or not at all."""

import json
import math

import pytest

from evoprune.files.json_files import finite, read_json, write_json


def test_json_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"new": float("nan")})
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("value", "kept"), [(1.5, 1.5), (math.inf, None), (-math.inf, None), (math.nan, None)])
def test_what_json_lacks_becomes_null(value, kept):
    assert finite(value) == kept


@pytest.mark.parametrize("place", ["value.json", "file/value.json"])
def test_a_file_that_is_not_there_is_missing_also_where_its_folder_is_a_file(tmp_path, place):
    (tmp_path / "file").write_text("of other content")
    assert read_json(tmp_path / place, missing={}) == {}
