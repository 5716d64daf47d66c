"""A run's worth in a few lines, for each kind of run."""

import pytest

from problems.results.result import LanguageModelResult, gap_closed
from problems.results.summary import summary, verdict

SMALLER = {"parameters": {"dense": 1000, "evolved": 751}, "bytes": {"dense": 2000, "evolved": 1502}}
TYPED = {
    "parameters": {"dense": 1000, "evolved": 1000},
    "bytes": {"dense": 2000, "evolved": 612},
    "bits_per_weight": {"dense": 16.3, "evolved": 4.996},
}
TIMES = {"milliseconds": {"dense": 30.0, "evolved": 20.0, "predicted": 21.0, "measured": 20.0, "speedup": 1.6}}
UPDATED = {"report_reconstructed": {"uniform": 25.6, "evolved": 25.4}}
NOTHING = "The search gained nothing over uniform here; the result is the uniform model."


@pytest.fixture
def made(result):
    """Makes a result whose perplexities on the report text are 20.7 (dense), 122 and 63; with other keys if given."""

    def make(uniform=122.0, evolved=63.0, perplexity=(), **keys):
        report = {"dense": 20.7, "uniform": uniform, "evolved": evolved}
        scores = {"search": report, "report": report} | dict(perplexity)
        return LanguageModelResult.model_validate(result | {"perplexity": scores} | keys)

    return make


def row(after, helped=True):
    divergences = {"divergence_before": 0.9, "divergence_after": 0.4}
    return {
        "perplexity_before": 63.0, "perplexity_after": after, **divergences, "helped": helped, "decided": [2.0, 1.0],
        "tokens": 512, "minutes": 0.1, "trained": "all", "curve": [{"tokens": 0}, {"tokens": 512}],
    }  # fmt: skip


def test_what_was_removed_and_how_much_the_search_gained(made):
    assert verdict(made()) == (
        "45.0% of the weights removed: perplexity 63 (dense 20.7, uniform 122). "
        "The search closed 37% of what the uniform model loses."
    )


@pytest.mark.parametrize(
    ("cost", "begins"),
    [
        (SMALLER, "24.9% of the parameters removed: "),
        (TYPED, "5.00 bits a weight instead of 16.30: "),
        (SMALLER | TIMES, "1.50 times as fast (1.6 asked for), 24.9% of the parameters removed: "),
        (
            TYPED | {"parameters": SMALLER["parameters"]},
            "24.9% of the parameters removed, 5.00 bits a weight that is left, instead of 16.30: ",
        ),
    ],
)
def test_each_way_of_being_smaller_is_said(made, cost, begins):
    assert verdict(made(cost=cost)).startswith(begins)


@pytest.mark.parametrize("unit", ["bytes", "joules"])
def test_a_model_that_needs_less_and_has_no_zeros_is_told_by_its_savings(made, unit):
    cost = {"parameters": {"dense": 1000, "evolved": 1000}, "bytes": {"dense": 2000, "evolved": 2000}}
    cost[unit] = {"dense": 2000, "evolved": 612}
    told = made(cost=cost, sparsity={"prunable": 0.0, "model": 0.0})
    assert verdict(told).startswith(f"69.4% fewer {unit}: ")
    assert ("in 612 bytes" in summary(told)[1]) == (unit == "bytes")


def test_the_numbers_are_those_of_the_form_that_is_exported(made):
    told = verdict(made(perplexity=UPDATED))
    assert "perplexity 25.4 (dense 20.7, uniform 25.6)" in told
    assert f"closed {gap_closed(20.7, 25.6, 25.4):.0%} of" in told


@pytest.mark.parametrize(
    ("keys", "ends"),
    [
        ({"evolved": 122.0, "chosen": "uniform"}, NOTHING),
        ({"evolved": 122.0}, NOTHING),
        ({"chosen": "owl"}, "nothing over owl here; the result is the owl model."),
        ({"evolved": 122.1, "chosen": "evolved"}, "On the report text, the search gained nothing over uniform."),
        ({"uniform": None}, "perplexity 63 (dense 20.7, uniform infinite)."),
        ({"front": []}, "perplexity 63 (dense 20.7, uniform 122)."),
        ({"uniform": 13024.6, "evolved": None}, "perplexity infinite (dense 20.7, uniform 13,025)."),
    ],
    ids=["chosen", "equal", "owl", "worse there", "no gap", "trade-offs", "infinite"],
)
def test_no_gain_is_said_as_plainly(made, keys, ends):
    assert verdict(made(**keys)).endswith(ends)


def test_a_recovered_model_has_two_perplexities(made):
    told = verdict(made(recovered={"evolved": row(35.2)}))
    assert "perplexity 35.2 after recovery, 63 before (dense 20.7, uniform 122 before)" in told
    assert "(dense 20.7, uniform 41)" in verdict(made(recovered={"evolved": row(35.2), "uniform": row(41.0)}))
    assert verdict(made(recovered={"evolved": row(64.0, helped=False)})) == verdict(made())


def test_without_a_budget_there_is_nothing_to_compare_with(made):
    alone = {"report": {"dense": 20.7, "evolved": 63.0}}
    assert verdict(made(perplexity=alone)) == "45.0% of the weights removed: perplexity 63 (dense 20.7)."


def test_each_measurement_has_a_line(made, result):
    found = summary(
        made(
            gap_closed=0.37, cost=SMALLER | TIMES, perplexity=UPDATED, recovered={"evolved": row(64.0, helped=False)},
            best={"genome": [0.4], "fitness": [60.0], "candidate": 12},
            finalists={"evolved": {"fitness": 60.0, "judged": 61.0}},
            protocol=result["protocol"] | {"milliseconds": "for a token", "reconstruct": "sparsegpt"},
        )
    )  # fmt: skip
    lines = [
        ("dense 20.7", "45.0%", "(37% of"), ("751", "24.9%"), ("for a token", "1.50x"), ("sparsegpt", "evolved 25.4"),
        ("candidate 12", "61"), ("after 512 tokens",), ("did not help",),
    ]  # fmt: skip
    assert len(found) == 1 + len(lines)
    for line, fragments in zip(found[1:], lines, strict=True):
        assert all(fragment in line for fragment in fragments), line
