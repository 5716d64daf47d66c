"""What is kept of what was made: the newest, within a number of bytes."""

from problems.models.recent import Recent


def test_what_was_used_least_recently_is_made_again_once_the_bytes_are_spent():
    made, recent = [], Recent(5, len)

    def get(word):
        return recent.get(word, lambda: made.append(word) or word)

    assert [get(word) for word in ("aa", "bb", "aa", "cc", "aa", "bb")] == ["aa", "bb", "aa", "cc", "aa", "bb"]
    assert made == ["aa", "bb", "cc", "bb"]  # "cc" put out "bb", which was older than "aa"


def test_one_that_is_larger_than_all_is_kept_alone():
    made, recent = [], Recent(3, len)
    for word in ("a", "large", "large", "a"):
        recent.get(word, lambda word=word: made.append(word) or word)
    assert made == ["a", "large", "a"]
