"""Links between the pages, as a reader of the bare files meets them: Sphinx checks those of its site alone."""

import re

import pytest

from tests.docs.conftest import PAGES, name

_FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_have_a_text_and_lead_somewhere(page):
    for text, target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        assert text, f"({target}) shows nothing outside of the site"
        path = target.partition("#")[0]
        assert "://" in target or not path or (page.parent / path).exists(), target
