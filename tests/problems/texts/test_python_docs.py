from problems.texts.source import paragraphs, python_docs, split_of


def test_splits_partition_the_reference():
    texts = {split: set(paragraphs(python_docs(split))) for split in ("train", "validation", "test")}
    for split, parts in texts.items():
        assert parts
        assert {split_of(part) for part in parts} == {split}


def test_a_paragraph_edited_at_its_end_stays_in_its_split():
    for paragraph in paragraphs(python_docs("test")):
        if len(paragraph.split()) > 12:
            assert split_of(paragraph + " This sentence was added in a later version.") == "test"


def test_layout_does_not_decide_a_split():
    text = "Assert statements are a convenient way to insert debugging assertions into a program:"
    assert split_of(text) == split_of(text.replace(" ", "\n   "))
