"""The command: a run and an export for each limit, none of them twice, and a page that names every file."""

import pytest

from evoprune import InputError
from evoprune.ablation.grid import variants
from evoprune.fronts.run import names
from tests.evoprune.report.conftest import Page

pytestmark = pytest.mark.usefixtures("drawn")  # the page links the points of its drawing

WRITTEN = """
from pathlib import Path
from evoprune import Exported, InputError, Measured, Reporting
from evoprune.interfaces.export import Exporting, Quantity, Rival, Standing
from evoprune.problems.benchmark.functions import Benchmark

class Written(Benchmark, Reporting, Measured, Exporting):
    quantities = {"loss": Quantity("loss", "lower"), "bytes": Quantity("bytes", "lower"), "note": Quantity("note")}

    @classmethod
    def file_suffixes(cls): return [".txt"]

    def export(self, genome, result, place, options):
        if len(genome) == 7: raise InputError("has no form")
        place.write_text(str(genome))
        assert (result.folder / "weights").read_text() == "kept"  # what the report left for it
        if hasattr(result, "rival"): assert result.compared == (["dense"] if "uniform" in result.rival else [])
        faults = ["too long"] if len(genome) == 5 else []
        return Exported({"loss": len(genome), "bytes": 9 - len(genome), "function": self.settings.function}, [], faults)

    def take_measurements(self): return {"pace": 2}

    def use_measurements(self, facts): self.pace = facts["pace"]

    def report(self, outcome, folder):
        (folder / "weights").write_text("kept")
        return {"loss": outcome.best_evaluation.values, "compared": sorted(outcome.references), "pace": self.pace}

    def rivals(self, first):
        if first: yield Rival("dense", "dense", lambda: (self, [0.0], {}))
        if first: yield Rival("presets", "none", self.none)
        known = {"dense": [0.0] * len(self.genes)}
        yield Rival("uniform", "", lambda: (self, [self.pace / 2] * len(self.genes), known))

    def none(self): raise InputError("there is no such model")

    @classmethod
    def standing(cls, facts):
        return Standing({"loss": facts["loss"], "bytes": facts["bytes"], "note": "<b>"}, facts["function"])
"""

EXPERIMENT = """
plugins: [written]
problem: {use: "written:Written", function: sphere, dimensions: 3}
population: 6
generations: 1
seed: 1
"""


@pytest.fixture(autouse=True)
def _no_files_of_figures(monkeypatch, request):
    """Saving figures takes longer than all the rest, and one test looks for them."""
    if "names_every_file" not in request.node.name:
        monkeypatch.setattr("evoprune.fronts.page.save", lambda *_: None)


@pytest.fixture
def front(evoprune, plugin, write, tmp_path):
    """Makes a front over two sizes, or those given, in the folder ``front``."""
    plugin("written", WRITTEN)
    file = write(EXPERIMENT, "small.yaml")

    def call(*options, dimensions="3,4"):
        vary = ("--vary", f"problem.dimensions={dimensions}")
        return evoprune("front", file, "--out", tmp_path / "front", *vary, *options, folder=tmp_path / "front")

    return call


def made(folder):
    """When each file of runs and exports was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/**/*") if path.is_file()}


def test_each_limit_is_run_and_exported_and_the_page_names_every_file(front):
    answer = front()
    assert answer.code == 0, answer.err
    assert {path.name for path in answer.folder.glob("small/*.txt")} == {"3.txt", "4.txt"}
    assert len(list(answer.folder.glob("small/runs/*/result.json"))) == 2
    text = (answer.folder / "front.html").read_text()
    page, titles = Page(text), text.split("<title>")
    rows = {attributes["id"] for attributes in page.named("tr") if "id" in attributes}
    assert {attributes["href"] for attributes in page.named("a")} == {f"#{row}" for row in rows}
    for name in ("small/3.txt", "small/4.txt"):
        assert sum(title.startswith(f"{name}\n") for title in titles) == 1
        assert name in (answer.folder / "front.md").read_text() and name in answer.out
    assert {path.name for path in answer.folder.glob("front_*")} == {"front_bytes.png", "front_bytes.svg"}
    assert not page.named("script") + page.named("b") + page.named("img")
    assert all(drawing["aria-label"] and "width" not in drawing for drawing in page.named("svg"))


def test_given_again_it_makes_only_what_is_missing(front):
    folder = front().folder
    before = made(folder)
    assert front(dimensions="3,4,6").code == 0
    after = made(folder)
    assert before == {path: after[path] for path in before}
    assert (folder / "small" / "6.txt").exists()
    for path in folder.glob("small/4.*"):  # the run is there, its export is not
        path.unlink()
    assert front(dimensions="3,4,6").code == 0
    assert (folder / "small" / "4.txt").exists()
    of_runs = (path for path in after if "runs" in path.parts and path.name != "exported.json")
    runs = {path: after[path] for path in of_runs}
    assert runs == {path: made(folder)[path] for path in runs}


def test_rivals_are_exported_once_beside_the_results(front):
    answer = front("--rivals")
    assert answer.code == 0, answer.err
    written = {path.relative_to(answer.folder).as_posix() for path in answer.folder.glob("*/*.txt")}
    assert written == {"small/3.txt", "small/4.txt", "dense/dense.txt", "small, uniform/3.txt", "small, uniform/4.txt"}
    assert (answer.folder / "small, uniform" / "4.txt").read_text() == str([1.0] * 4)
    assert all(name in answer.out for name in written)
    assert "presets/none.txt: there is no such model" in answer.err
    before = made(answer.folder)
    answer = front("--rivals", dimensions="3,4,5")
    assert answer.code == 0, answer.err
    assert before == {path: when for path, when in made(answer.folder).items() if path in before}
    assert "unfit: small, uniform/5.txt: too long" in answer.out


def test_an_export_that_failed_its_check_or_is_refused_is_told_and_the_others_are_made(front):
    answer = front(dimensions="5,7,6")
    assert answer.code == 0, answer.err
    text = (answer.folder / "front.html").read_text()
    assert "<title>small/5.txt" not in text
    for told, line in (
        (text, "small/5.txt: too long"),
        (answer.out, "unfit: small/5.txt"),
        (answer.err, "small/7.txt"),
    ):
        assert line in told
    assert {path.name for path in answer.folder.glob("small/*.txt")} == {"5.txt", "5.UNFIT.txt", "6.txt"}


def test_damaged_fronts_are_refused_in_one_line(front):
    folder = front().folder
    facts, export = folder / "small" / "4.evoprune.json", folder / "small" / "4.txt"
    for path, spoil in ((export, export.unlink), (facts, lambda: facts.write_text("{"))):
        spoil()
        answer = front()
        assert answer.code == 2
        assert str(path.with_suffix("") if path == export else path) in answer.err.splitlines()[-1]


def test_another_experiment_in_the_same_family_is_refused_before_anything_runs(front):
    before = made(front().folder)
    answer = front("--set", "population=8", dimensions="4,7")
    assert answer.code == 2
    assert "--family" in answer.err
    assert made(answer.folder) == before


def test_exports_measured_on_something_else_are_not_compared(front):
    front()
    answer = front("--set", "problem.function=rastrigin", "--family", "other")
    assert answer.code == 2
    assert all(fact in answer.err for fact in ("small/3.txt", "sphere", "other/3.txt", "rastrigin"))


def test_points_are_named_by_their_values_and_no_two_alike():
    assert names(variants(["a.b=1e6,2.5e6", "c=x,y"])) == ["1e6-x", "1e6-y", "2.5e6-x", "2.5e6-y"]
    with pytest.raises(InputError, match="--vary"):
        names(variants(["c='x y',x/y"]))
