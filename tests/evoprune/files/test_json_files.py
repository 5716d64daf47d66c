"""Files are written whole or not at all."""

import json
import math

import pytest

from evoprune.files.json_files import finite, write_json


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
