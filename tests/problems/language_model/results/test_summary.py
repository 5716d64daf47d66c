"""A run's worth in a few lines, for each kind of run."""

import pytest

from evoprune.problems.language_model.results.result import LanguageModelResult
from evoprune.problems.language_model.results.summary import summary, verdict

SMALLER = {
    "parameters": {"dense": 1000, "evolved": 751},
    "bytes": {"dense": 2000, "evolved": 1502},
    "bits_per_weight": {"dense": 16, "evolved": 16},
}
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
FEWER = SMALLER | {"parameters": {"dense": 1000, "evolved": 1000}, "bytes": {"dense": 2000, "evolved": 612}}
REMOVED = {"unit": "parameters", "wanted": 0.25, "got": 0.251, "share": True}
SIZE = {"unit": "bytes", "wanted": 700, "got": 612}
VERDICTS = {
    "zeros": ({}, "45.0% of the weights removed: perplexity 63 (dense 20.7)."),
    "smaller": ({"cost": SMALLER}, "24.9% of the parameters removed: "),
    "a share": ({"cost": SMALLER, "asked": REMOVED}, "25.1% of the blocks' parameters removed (25% asked for): "),
    "in types": ({"cost": TYPED}, "5.00 bits a weight instead of 16.30, 0.6 kB: "),
    "bits": ({"cost": TYPED, "asked": {"unit": "bits a weight", "wanted": 5, "got": 4.996}}, "weight (5 asked for), "),
    "a size": ({"cost": TYPED, "asked": SIZE}, "0.6 kB (0.7 kB asked for): "),
    "tokens": ({"asked": {"unit": "tokens", "wanted": 90, "got": 80, "whole": 100}}, "80 of 100 tokens stay: "),
    "faster": (
        {"cost": SMALLER | TIMES, "asked": {"unit": "speedup", "wanted": 1.6, "got": 1.5}},
        "1.50 times as fast (1.6 asked for): ",
    ),
    "both": (
        {"cost": TYPED | {"parameters": SMALLER["parameters"]}},
        "24.9% of the parameters removed, 5.00 bits a weight that is left, instead of 16.30, ",
    ),
    "fewer bytes": ({"cost": FEWER, "sparsity": {"prunable": 0.0, "model": 0.0}}, "69.4% fewer bytes: "),
    "as exported": ({"perplexity": UPDATED}, "perplexity 25.4 (dense 20.7)."),
    "infinite": ({"uniform": 13024.6, "evolved": None}, "perplexity infinite (dense 20.7)."),
    "recovered": ({"recovered": {"evolved": row(35.2)}}, "perplexity 35.2 after recovery, 63 before (dense 20.7)"),
    "of no help": ({"recovered": {"evolved": row(64.0, helped=False)}}, "perplexity 63 (dense 20.7)"),
}  # fmt: skip
GAINS = {
    "a gain": ({}, "closed 37% "),
    "beside its own text": (
        {"gap_closed_search": 0.62},
        "closed 37% of what the uniform model loses on unseen text, 62% ",
    ),
    "as exported": (
        {"perplexity": UPDATED, "gap_closed_search": 0.62},
        " 4% of what the uniform model loses on unseen text.",
    ),
    "uniform won": ({"evolved": 122.0, "chosen": "uniform"}, NOTHING),
    "equal": ({"evolved": 122.0}, NOTHING),
    "nothing searched": (
        {"evolved": 122.0, "evaluations": 1},
        "Nothing was searched; the result is the uniform model.",
    ),
    "another won": ({"chosen": "other"}, "nothing over other here; the result is the other model."),
    "worse there": ({"evolved": 122.1, "chosen": "evolved"}, "On the report text, the search gained nothing over "),
    "no gap": ({"uniform": None}, "infinite"),
    "no budget": ({"perplexity": ALONE}, "on the report text: dense 20.7, this model 63"),
}


@pytest.mark.parametrize(("keys", "fact"), VERDICTS.values(), ids=VERDICTS.keys())
def test_a_verdict_says_how_much_smaller_the_model_is_beside_what_was_asked(made, keys, fact):
    found = verdict(made(**keys))
    assert fact in found
    assert "uniform" not in found


@pytest.mark.parametrize(
    ("keys", "ruined"),
    [
        ({"evolved": 82.7}, False),
        ({"evolved": 82.9}, True),
        ({"evolved": None, "asked": SIZE}, True),
        ({"evolved": None, "asked": {"unit": "bits a weight", "wanted": 5, "got": 4.996}}, True),
        ({"evolved": 500.0, "recovered": {"evolved": row(82.7)}}, False),
        ({"evolved": 82.9, "recovered": {"evolved": row(20.0, helped=False)}}, True),
    ],
)
def test_a_model_of_more_than_four_times_the_perplexity_of_its_source_is_called_unusable(made, keys, ruined):
    found = verdict(made(**keys))
    assert found.startswith("UNUSABLE") == ruined
    assert ("prune MODEL" in found) == (ruined and "asked" in keys)


@pytest.mark.parametrize(("keys", "fact"), GAINS.values(), ids=GAINS.keys())
def test_the_gain_of_the_search_follows_the_verdict(made, keys, fact):
    assert fact in summary(made(**keys))[1]


@pytest.mark.parametrize(
    ("source", "fact"), [(1000, "0.6 kB of 1.0 kB"), (500, "0.6 kB, larger than the source of 0.5")]
)
def test_a_file_is_compared_with_the_gguf_file_that_it_was_made_of(made, result, source, fact):
    text = result["protocol"]["report_text"] | {"predictions": 8, "bytes": 32}
    protocol = result["protocol"] | {"model": "/a/b.gguf", "source_bytes": source, "report_text": text}
    perplexity = {"report": {"dense": 16.0, "uniform": 1e6, "evolved": 64.0}}
    found = made(cost=TYPED, asked=SIZE, protocol=protocol, perplexity=perplexity)
    assert found.final_bits_per_byte == {"dense": 1.0, "uniform": pytest.approx(4.983, abs=1e-3), "evolved": 1.5}
    assert fact in verdict(found)
    assert "0.5 bits per byte behind the source" in verdict(found)
    assert "perplexity" not in verdict(found)
    recovered = made(protocol=protocol, perplexity=perplexity, recovered={"evolved": row(32.0)})
    assert recovered.final_bits_per_byte["evolved"] == recovered.export_keys()["bits_per_byte"]["evolved"] == 1.25


def test_each_measurement_has_a_line(made, result):
    found = summary(
        made(
            gap_closed=0.37, cost=SMALLER | TIMES, perplexity=UPDATED, recovered={"evolved": row(64.0, helped=False)},
            best={"genome": [0.4], "fitness": [60.0], "candidate": 12},
            finalists={"evolved": {"fitness": 60.0, "judged": 61.0}},
            protocol=result["protocol"] | {"milliseconds": "for a token", "reconstruct": "least_squares"},
        )
    )  # fmt: skip
    lines = [
        ("dense 20.7", "45.0%", "(37% of"), ("751", "24.9%"), ("for a token", "1.50x"),
        ("least_squares", "model 25.4"), ("candidate 12", "61"), ("after 512 tokens",), ("did not help",),
    ]  # fmt: skip
    assert len(found) == 2 + len(lines)
    for line, fragments in zip(found[2:], lines, strict=True):
        assert all(fragment in line for fragment in fragments), line
