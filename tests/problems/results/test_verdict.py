"""A run's worth in a sentence or two, for each kind of run."""

import pytest

from problems.results.verdict import gap_closed, verdict

MASKED = {
    "sparsity": {"prunable": 0.45},
    "perplexity": {"report": {"dense": 20.7, "uniform": 122.0, "evolved": 63.0}},
}
SMALLER = {"parameters": {"dense": 1000, "evolved": 751}, "bits_per_weight": {"dense": 16.0, "evolved": 16.0}}
STORED = {"parameters": {"dense": 1000, "evolved": 1000}, "bits_per_weight": {"dense": 16.3, "evolved": 4.996}}
TIMES = {"milliseconds": {"dense": 30.0, "evolved": 20.0, "predicted": 21.0, "measured": 20.0}}
NOTHING = "The search gained nothing over uniform here; the result is the uniform model."


def with_scores(uniform, evolved, dense=20.7):
    return MASKED | {"perplexity": {"report": {"dense": dense, "uniform": uniform, "evolved": evolved}}}


def recovered(**rows):
    return {
        "recovered": {name: {"perplexity_after": after, "helped": helped} for name, (after, helped) in rows.items()}
    }


def test_what_was_removed_and_how_much_the_search_gained():
    assert verdict(MASKED) == (
        "45.0% of the weights removed: perplexity 63 (dense 20.7, uniform 122). "
        "The search closed 37% of what the uniform model loses."
    )


@pytest.mark.parametrize(
    ("cost", "begins"),
    [
        (SMALLER, "24.9% of the parameters removed: "),
        (STORED, "5.00 bits a weight instead of 16.30: "),
        (SMALLER | TIMES, "1.50 times as fast, 24.9% of the parameters removed: "),
        ({"milliseconds": TIMES["milliseconds"] | {"speedup": 1.6}}, "1.50 times as fast (1.6 asked for): "),
        (SMALLER | {"bits_per_weight": STORED["bits_per_weight"]},
         "24.9% of the parameters removed, 5.00 bits a weight that is left, instead of 16.30: "),
    ],
)  # fmt: skip
def test_each_way_of_being_smaller_is_said(cost, begins):
    assert verdict(MASKED | {"cost": cost}).startswith(begins)


def test_the_numbers_are_those_of_the_form_that_is_exported():
    updated = {"report_reconstructed": {"uniform": 25.6, "evolved": 25.4}}
    told = verdict(MASKED | {"perplexity": MASKED["perplexity"] | updated})
    assert "perplexity 25.4 (dense 20.7, uniform 25.6)" in told
    assert f"closed {gap_closed(20.7, 25.6, 25.4):.0%} of" in told


@pytest.mark.parametrize(
    ("result", "ends"),
    [
        (with_scores(37.5, 37.5) | {"chosen": "uniform"}, NOTHING),
        (with_scores(37.5, 37.5), NOTHING),
        (with_scores(37.5, 37.0) | {"chosen": "owl"}, "nothing over owl here; the result is the owl model."),
        (
            with_scores(37.5, 37.6) | {"chosen": "evolved"},
            "On the report text, the search gained nothing over uniform.",
        ),
        (with_scores(None, 63.0), "perplexity 63 (dense 20.7, uniform infinite)."),
        (with_scores(37.5, 37.0) | {"front": [{}]}, "perplexity 37 (dense 20.7, uniform 37.5)."),
        (with_scores(13024.6, None), "perplexity infinite (dense 20.7, uniform 13,025)."),
    ],
    ids=["chosen", "equal", "owl", "worse there", "no gap", "trade-offs", "infinite"],
)
def test_no_gain_is_said_as_plainly(result, ends):
    assert verdict(result).endswith(ends)


def test_a_recovered_model_has_two_perplexities():
    told = verdict(MASKED | recovered(evolved=(35.2, True)))
    assert "perplexity 35.2 after recovery, 63 before (dense 20.7, uniform 122 before)" in told
    told = verdict(MASKED | recovered(evolved=(35.2, True), uniform=(41.0, True)))
    assert "(dense 20.7, uniform 41)" in told
    assert verdict(MASKED | recovered(evolved=(64.0, False))) == verdict(MASKED)


def test_without_a_budget_there_is_nothing_to_compare_with():
    alone = MASKED | {"perplexity": {"report": {"dense": 20.7, "evolved": 63.0}}}
    assert verdict(alone) == "45.0% of the weights removed: perplexity 63 (dense 20.7)."
