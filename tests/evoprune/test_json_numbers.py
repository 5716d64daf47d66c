import math

import pytest

from evoprune import finite


@pytest.mark.parametrize(("value", "kept"), [(1.5, 1.5), (math.inf, None), (-math.inf, None), (math.nan, None)])
def test_what_json_lacks_becomes_null(value, kept):
    assert finite(value) == kept
