"""The page on runs of a test function: whole, without network, and safe to open."""

import base64
import json
from xml.etree import ElementTree

import pytest

from evoprune.console.markdown import code, table, text
from evoprune.interfaces.parts import Shown
from evoprune.problems.benchmark import Benchmark
from evoprune.report import page
from tests.evoprune.report.conftest import Page

FIVE, FOUR = ("five", 1.0), ("four", 0.5)
MAP = page.Heatmap("bits", {"0": {"q": FIVE}, "1": {"q": FIVE, "k": FOUR}}, {"a<1>": ("x&y", 0)}, {"five": 1}, "words")


@pytest.fixture
def report(run, sphere, evoprune, tmp_path):
    def call(*seeds):
        folders = [run(sphere, f"seed={seed}", name=f"seed{seed}").folder for seed in seeds]
        answer = evoprune("report", *folders, "--out", tmp_path / "report.html")
        assert answer.code == 0, answer.err
        return folders, (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()

    return call


@pytest.mark.usefixtures("search_figures", "drawn")
def test_the_page_is_whole_and_asks_no_network(report):
    _, html, _ = report(1)
    found = Page(html)
    found.asks_no_network()
    assert found.named("img")
    for image in found.named("img"):
        ElementTree.fromstring(base64.b64decode(image["src"].partition(",")[2]))


@pytest.mark.parametrize(
    "mark",
    ["<script>alert(1)</script>", "a | b", "`x`", "**b** _c_ *d*", "![i](https://x)", "&lt;", "- a", "1. a", "# a",
     "\\", "<https://x>", "[x]: https://x", "~~~", "a  \n\nb", "held_out", "-5.2e-05"],
)  # fmt: skip
def test_text_is_shown_as_it_is(mark):
    shown = " ".join(mark.split())
    for content, tags in (
        (text(mark), ["p"]),
        (f"> {text(mark)}", ["blockquote", "p"]),
        (table([mark], [[mark]]), ["div", "table", "thead", "tr", "th", "tbody", "tr", "td"]),
        (f"- {text(mark)}", ["ul", "li"]),
        (code(mark), ["pre"]),
    ):
        found = Page(page.to_html(content))
        assert [tag for tag, _ in found.tags] == tags
        texts = {text.strip() for text in found.texts} - {""}
        assert texts == {mark.strip() if tags == ["pre"] else shown}


@pytest.mark.parametrize("line", ['{"generation": 1, "seconds": 1}', '{"reference": 1}', "x"])
def test_a_history_of_another_form_is_refused(run, sphere, evoprune, line):
    folder = run(sphere).folder
    (folder / "history.jsonl").write_text(line + "\n")
    answer = evoprune("report", folder)
    assert answer.code == 2
    assert "history.jsonl" in answer.err
    assert not (folder / "report.html").exists()


@pytest.mark.usefixtures("search_figures")
def test_a_result_is_told_in_the_problems_words(report, evoprune, tmp_path, monkeypatch):
    (folder,), _, _ = report(1)
    said = {
        "words": {"closed": "the gap that is closed", "found": "the findings"},
        "shares": frozenset({"closed", "part"}),
        "explained": {"closed": "0 is uniform", "found": "by <b>name</b>"},
        "packages": ("numpy",),
        "summary": lambda _: ["It <i>gained</i> much.", "More."],
        "about": classmethod(lambda cls, settings: f"sphere in {settings.dimensions} dimensions"),
        "drawn_references": classmethod(lambda cls: ("optimum",)),
        "shown": classmethod(lambda cls, result, facts: Shown([text("beside <b>others</b>")], [MAP])),
    }
    for name, value in said.items():
        monkeypatch.setattr(Benchmark, name, value, raising=False)
    monkeypatch.setattr("evoprune.interfaces.parts.Reporting", Benchmark)
    told = {
        "closed": 0.25,
        "genes": {"block 0": "Q4_K", "block 1": "40.0%"},
        "found": {"a": {"score": 1.5, "part": 0.450001, "said": "a\nb", "genome": [0.1] * 12}},
        "wide": {f"column{i}": i for i in range(21)},
        "protocol": {"unit": "m", "one": {"size": 3, "sha256": "x"}, "other": {"size": 4, "sha256": "y"}},
        "figures": {"convergence": "It falls <b>fast</b>."},
    }
    result = json.loads((folder / "result.json").read_text()) | told
    (folder / "result.json").write_text(json.dumps(result))
    assert evoprune("report", folder, "--out", tmp_path / "report.html").code == 0
    html, markdown = ((tmp_path / name).read_text() for name in ("report.html", "report.md"))
    for line in (
        "sphere in 3 dimensions, seed 1",
        "| the gap that is closed | 25.0% *0 is uniform* |",
        "### the findings",
        "| a | 1.5 | 45.0% | a\N{RETURN SYMBOL}b |",
        "| block 1 | 40.0% |",
        "| one.size | 3 |",
        "| unit | m |",
    ):
        assert line in markdown.splitlines()
    order = ("It &lt;i&gt;", "beside &lt;b&gt;", "Repeat it", "a&lt;1&gt;: x&amp;y", "Time", "<details><summary>Result")
    assert sorted(order, key=html.index) == [*order]
    colours = [cell["style"] for cell in Page(html).named("td") if "background" in cell.get("style", "")]
    assert len(colours) == 4
    assert len(set(colours)) == 3
    assert "| 1 | five | four |" in markdown
    for words in ("It &lt;i&gt;gained&lt;/i&gt; much.", "by &lt;b&gt;name", "Q4_K"):
        assert words in html
    assert "More." not in html + markdown
    assert "column1" not in html + markdown  # too wide to read
    assert "<figcaption>It falls &lt;b&gt;fast&lt;/b&gt;.</figcaption>" in html


@pytest.mark.parametrize(("out", "made"), [("a-0.45", "a-0.45.html"), ("new/b.md", "new/b.html"), ("c.html", "c.html")])
def test_a_page_is_called_what_was_asked(run, sphere, evoprune, tmp_path, out, made):
    assert evoprune("report", run(sphere).folder, "--out", tmp_path / out).code == 0
    assert (tmp_path / made).is_file()
    assert evoprune("report", tmp_path / "runs" / "run", "--out", tmp_path).code == 2


def test_a_folder_of_runs_is_all_of_its_runs_but_those_without_a_score(report, evoprune):
    folders, _, _ = report(1, 2)
    (empty := folders[0].with_name("empty")).mkdir()
    (empty / "status.json").write_text('{"state": "interrupted"}')
    answer = evoprune("report", folders[0].parent)
    assert answer.code == 0
    assert str(empty) in answer.err
    assert (folders[0].parent / "report.md").read_text().startswith("# seed1, seed2\n")


def test_failures_for_one_reason_stand_on_one_line(run, sphere, evoprune):
    folder = run(sphere).folder
    lines = list(map(json.loads, (folder / "history.jsonl").read_text().splitlines()))
    for line in lines:
        if line.get("candidate") in (1, 2, 4):
            line["failure"] = "overflow" if line["candidate"] < 4 else "underflow"
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert evoprune("report", folder).code == 0
    told = [line for line in (folder / "report.md").read_text().splitlines() if "flow" in line]
    assert told == ["- candidate 1 and 1 more: overflow", "- candidate 4: underflow"]


@pytest.mark.parametrize("generations", [0, 2])
def test_only_several_generations_converge(run, sphere, evoprune, generations):
    folder = run(sphere, f"generations={generations}").folder
    assert evoprune("report", folder).code == 0
    assert ("onvergence" in (folder / "report.md").read_text()) == (generations > 0)
