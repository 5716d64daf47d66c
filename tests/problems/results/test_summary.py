"""A run's worth in a few lines, for each kind of run."""

import pytest

from problems.results.result import LanguageModelResult
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


ALONE = {"report": {"dense": 20.7, "evolved": 63.0}}
FEWER = {"parameters": {"dense": 1000, "evolved": 1000}, "bytes": {"dense": 2000, "evolved": 612}}
VERDICTS = {
    "removed": ({}, "45.0% of the weights removed: perplexity 63 (dense 20.7, uniform 122). The search closed 37% "),
    "smaller": ({"cost": SMALLER}, "24.9% of the parameters removed: "),
    "in types": ({"cost": TYPED}, "5.00 bits a weight instead of 16.30: "),
    "faster": ({"cost": SMALLER | TIMES}, "1.50 times as fast (1.6 asked for), 24.9% of the parameters removed: "),
    "both": (
        {"cost": TYPED | {"parameters": SMALLER["parameters"]}},
        "24.9% of the parameters removed, 5.00 bits a weight that is left, instead of 16.30: ",
    ),
    "fewer bytes": ({"cost": FEWER, "sparsity": {"prunable": 0.0, "model": 0.0}}, "69.4% fewer bytes: "),
    "as exported": ({"perplexity": UPDATED}, "perplexity 25.4 (dense 20.7, uniform 25.6). The search closed 4% of"),
    "uniform won": ({"evolved": 122.0, "chosen": "uniform"}, NOTHING),
    "equal": ({"evolved": 122.0}, NOTHING),
    "another won": ({"chosen": "owl"}, "nothing over owl here; the result is the owl model."),
    "worse there": ({"evolved": 122.1, "chosen": "evolved"}, "On the report text, the search gained nothing over "),
    "no gap": ({"uniform": None}, "perplexity 63 (dense 20.7, uniform infinite)."),
    "infinite": ({"uniform": 13024.6, "evolved": None}, "perplexity infinite (dense 20.7, uniform 13,025)."),
    "no budget": ({"perplexity": ALONE}, "45.0% of the weights removed: perplexity 63 (dense 20.7)."),
    "recovered": (
        {"recovered": {"evolved": row(35.2)}},
        "perplexity 35.2 after recovery, 63 before (dense 20.7, uniform 122 before)",
    ),
    "both recovered": ({"recovered": {"evolved": row(35.2), "uniform": row(41.0)}}, "(dense 20.7, uniform 41)"),
    "of no help": ({"recovered": {"evolved": row(64.0, helped=False)}}, "perplexity 63 (dense 20.7, uniform 122)"),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "fact"), VERDICTS.values(), ids=VERDICTS.keys())
def test_a_verdict_says_how_much_smaller_the_model_is_and_what_the_search_gained(made, keys, fact):
    assert fact in verdict(made(**keys))


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
