"""Mutation by a language model: over real HTTP, with answers of all kinds."""

import json
import random

import pytest

from evoprune import Additive, Genes, Individual
from evoprune.cli import main
from evoprune.testing import check_operator
from operators.mutation.asked import asked, counts
from operators.written import written
from tests.runs import lines, result

GENES = Genes.real("abcdef", 0.0, 0.9)
SPACE = {"genes": GENES, "budget": Additive.at_share(GENES, [-1.0, -2.0, -1.0, -3.0, -1.0, -1.0], -0.45)}
PARENT = [0.4512345, 0.1, 0.8, 0.45, 0.2, 0.7]


def child(endpoint, seed=0):
    random.seed(seed)
    return asked(Individual(PARENT), **SPACE, base_url=endpoint.url, timeout=10.0)[0]


@pytest.fixture(autouse=True)
def _nothing_counted():
    counts.clear()


def test_the_child_is_what_the_answer_says_and_the_rest_stays_to_the_last_bit(endpoint):
    numbers = written(PARENT, GENES)
    endpoint.answer = lambda _: json.dumps({"genome": [*numbers[:2], 70, 70, *numbers[4:]]})
    assert child(endpoint) == [*PARENT[:2], pytest.approx(0.63), pytest.approx(0.63), *PARENT[4:]]
    assert counts == {"used": 1}
    (request,) = endpoint.requests
    assert request["temperature"] == 0
    assert isinstance(request["seed"], int)


@pytest.mark.parametrize("answer", ["I cannot.", "[1, 2]", "[500, 1, 1, 1, 1, 1]", json.dumps(written(PARENT, GENES))])
def test_an_answer_that_cannot_be_used_is_replaced_by_exchange_and_counted(endpoint, answer):
    endpoint.answer = lambda _: answer
    found = child(endpoint)
    changes = [(new - old) * weight for new, old, weight in zip(found, PARENT, SPACE["budget"].weights, strict=True)]
    assert any(changes)
    assert sum(changes) == pytest.approx(0.0, abs=1e-12)
    assert counts.total() == 1
    assert not counts["used"]


def test_people_are_told_ever_more_rarely(endpoint, capsys):
    for seed in range(9):
        child(endpoint, seed)
    told = capsys.readouterr().err.splitlines()
    assert [line.split("bred ")[1].split()[0] for line in told] == ["1", "2", "4", "8"]
    assert "no list of numbers" in told[0]


def test_an_endpoint_that_is_not_there_breeds_by_exchange(endpoint):
    endpoint.close()
    assert child(endpoint) == child(endpoint)
    assert counts == {"no answer": 2}


def answering_sensibly(request):
    """Two of the numbers of the last genome that the request shows, swapped."""
    genome = json.loads(request["messages"][-2]["content"])["genome"]
    at, other = random.Random(request["seed"]).sample(range(len(genome)), 2)
    genome[at], genome[other] = genome[other], genome[at]
    return json.dumps({"genome": genome})


@pytest.mark.parametrize("sensible", [True, False])
def test_the_laws_of_mutations_are_kept_whatever_is_answered(endpoint, sensible):
    endpoint.answer = answering_sensibly if sensible else lambda _: "nonsense"
    check_operator("mutate", asked, base_url=endpoint.url)
    assert bool(counts["used"]) == sensible


def test_it_needs_a_budget(endpoint):
    with pytest.raises(ValueError, match="needs a budget"):
        asked(Individual(PARENT), genes=GENES, budget=None, base_url=endpoint.url)


@pytest.fixture
def search(endpoint, tmp_path):
    """Runs a search that is bred by the endpoint; returns its folder."""
    mutate = {"use": "asked", "base_url": endpoint.url}
    spec = {
        "problem": {"use": "knapsack", "items": 12, "copies": 3},
        "generations": 6,
        "operators": {
            "algorithm": {"use": "level_switching", "offspring": 4, "screening": 1},
            "mutate": mutate,
            "repair": "shift",
        },
    }
    (tmp_path / "search.yaml").write_text(json.dumps(spec))

    def run(name):
        assert main(["run", str(tmp_path / "search.yaml"), "--runs-dir", str(tmp_path), "--name", name]) == 0
        return tmp_path / name

    return run


def test_a_run_that_is_repeated_or_resumed_asks_nothing_again(endpoint, search):
    endpoint.answer = answering_sensibly
    whole = search("whole")
    expected, asked_for = lines(whole), len(endpoint.requests)
    assert counts["used"]
    endpoint.answer = lambda _: "nonsense"
    again = search("again")
    assert lines(again) == expected
    history = (again / "history.jsonl").read_bytes()
    (again / "history.jsonl").write_bytes(history[: len(history) // 2])
    (again / "result.json").unlink()
    assert main(["resume", str(again)]) == 0
    assert (lines(again), result(again)) == (expected, result(whole))
    extra = endpoint.requests[asked_for:]
    assert len(extra) <= 2, "only what is tried before a run is drawn anew"


def test_a_run_without_its_answers_is_refused_and_stays_as_it_is(endpoint, search, cache, capsys):
    endpoint.answer = answering_sensibly
    folder = search("run")
    for kept in cache.glob("*.safetensors"):
        kept.unlink()
    endpoint.answer = lambda _: "nonsense"
    history = (folder / "history.jsonl").read_bytes()
    (folder / "history.jsonl").write_bytes(history[: len(history) // 2])
    (folder / "result.json").unlink()
    assert main(["resume", str(folder)]) == 2
    assert (folder / "history.jsonl").read_bytes() == history[: len(history) // 2]
    assert "history.jsonl" in capsys.readouterr().err
