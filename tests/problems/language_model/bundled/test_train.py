"""The training text of the bundled model."""

from evoprune.problems.language_model.bundled.train import docstrings, source_folders, word_runs

LONG = "This sentence stands in a docstring and is long enough to be text that something can be learnt from."


def test_runs_of_words_are_counted_over_line_ends():
    assert word_runs("a b\nc d", 3) == {("a", "b", "c"), ("b", "c", "d")}
    assert word_runs("a b", 3) == set()


def test_docstrings_of_modules_classes_and_functions_are_read_but_no_short_ones_tests_or_broken_files(tmp_path):
    (tmp_path / "b.py").write_text(
        f'"""B. {LONG}"""\nclass A:\n    """A. {LONG}"""\n    def f():\n        """Short."""\n'
    )
    (tmp_path / "a.py").write_text(f'async def f():\n    """F. {LONG}"""\n')
    (tmp_path / "broken.py").write_text(f'"""{LONG}"""\ndef {{{{ template }}}}')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(f'"""{LONG}"""\n')
    assert list(docstrings(tmp_path)) == [f"{start}. {LONG}" for start in "FBA"]
    assert source_folders(["no_such_package"]) == source_folders([])
    assert [folder.name for folder in source_folders(["numpy"])][1:] == ["numpy"]
