"""Python in the pages: those on the Python interface are executed, all compile."""

import pytest

from tests.docs.conftest import PAGES, ROOT, blocks, name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_compiles(page):
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, name(page), "exec")


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_a_page_on_python_does_what_it_says(smaller, monkeypatch, page):
    monkeypatch.chdir(smaller)
    namespace = {}
    for block in blocks(ROOT / page):
        if block.language == "python":
            exec(compile(block.text, page, "exec"), namespace)
    assert (smaller / "pruned" / "model.safetensors").is_file()
    assert not (smaller / "pruned" / "UNFIT.txt").exists()


def test_the_page_on_extending_defines_what_its_experiments_name(tmp_path, monkeypatch):
    from evoprune.experiment import config
    from evoprune.experiment.resolve import resolve

    monkeypatch.syspath_prepend(tmp_path)
    found = blocks(ROOT / "docs" / "extending.md")
    for block in found:
        if block.language == "python":
            (tmp_path / block.text.split("\n", 1)[0].removeprefix("# ")).write_text(block.text)
    experiments = [block.text for block in found if block.language == "yaml"]
    assert len(experiments) > 1
    for number, text in enumerate(experiments):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text if "problem:" in text else text + "problem: benchmark\n")
        resolve(config.read(path), str(path))
