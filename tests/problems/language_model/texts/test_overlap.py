import pytest
import torch

from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.text_splits import PASSAGE, share_in_common
from evoprune.problems.language_model.texts.windows import Windows


def windows(tokens, window=8):
    tokens = torch.as_tensor(tokens, dtype=torch.int64)
    return Windows(tokens[: len(tokens) // window * window].view(-1, window), TextSettings(source="x.txt"), ())


def slow(text, other):
    one, two = (each.tokens.flatten().tolist() for each in (text, other))
    known = {tuple(two[at : at + PASSAGE]) for at in range(len(two) - PASSAGE + 1)}
    starts = [at for at in range(len(one) - PASSAGE + 1) if tuple(one[at : at + PASSAGE]) in known]
    return len({at + step for at in starts for step in range(PASSAGE)}) / len(one)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("vocabulary", [2, 50_000])
def test_copied_passages_are_found_at_any_offset(seed, vocabulary):
    draw = torch.Generator().manual_seed(seed)
    text, other = (torch.randint(vocabulary, (size,), generator=draw) for size in (400, 1000))
    for at, to, length in [(3, 501, PASSAGE - 1), (100, 17, PASSAGE), (211, 640, 90)]:
        other[to : to + length] = text[at : at + length]
    one, two = windows(text), windows(other)
    assert share_in_common(one, two) == pytest.approx(slow(one, two))
    assert share_in_common(one, two) >= (PASSAGE + 90) / 400
    assert share_in_common(two, one) == pytest.approx(slow(two, one))


def test_ends():
    text = torch.arange(80)
    for other, share in [(text, 1), (text.flip(0), 0), (text[:24], 0)]:
        assert share_in_common(windows(text), windows(other)) == share
    assert share_in_common(windows(torch.zeros(80)), windows(torch.zeros(40))) == 1
