"""Genomes in whole numbers, and back."""

import json
import random

import pytest

from evoprune import Gene, Genes
from operators.written import Unusable, most, read, request, value, written

GENES = Genes(
    [Gene("share", 0.0, 0.9), Gene.of_levels("width", range(5)), Gene("fixed", 0.25, 0.25), Gene("wide", -2.0, 3.0)]
)


def test_numbers_stand_for_the_nearest_values():
    rng = random.Random(0)
    for _ in range(100):
        genome = GENES.nearest([rng.uniform(gene.low, gene.up) for gene in GENES])
        back = [value(number, gene) for number, gene in zip(written(genome, GENES), GENES, strict=True)]
        assert GENES.allow(back)
        assert back[1:3] == genome[1:3]
        for new, old, gene in zip(back, genome, GENES, strict=True):
            assert abs(new - old) <= (gene.up - gene.low) / 200 + 1e-12
    assert [most(gene) for gene in GENES] == [100, 4, 0, 100]
    assert written(GENES.low, GENES) == [0] * 4
    assert written([9.0] * 4, GENES) == [100, 4, 0, 100]


def test_a_request_holds_the_genome_the_examples_and_the_form():
    genome, examples = [0.45, 2.0, 0.25, 0.5], [[0.9, 1.0, 0.25, 0.5], [0.0, 3.0, 0.25, 0.5]]
    sent = request(genome, examples, GENES)
    assert "width: 4" in sent["messages"][0]["content"]
    assert json.dumps(written(genome, GENES)) in sent["messages"][0]["content"]
    shown = [json.loads(m["content"])["genome"] for m in sent["messages"] if m["role"] == "assistant"]
    assert shown == [written(example, GENES) for example in examples]
    assert sent["temperature"] == 0
    form = sent["response_format"]["json_schema"]["schema"]["properties"]["genome"]
    assert form["minItems"] == form["maxItems"] == 4


def test_the_first_list_is_read_wherever_it_stands():
    for answer in ("[10, 2, 0, 70]", 'Here: {"genome": [10, 2, 0, 70]}\n[1, 2]', "```\n[10,\n2,\n0,\n70]\n```"):
        assert read(answer, GENES, [50, 2, 0, 50]) == [10, 2, 0, 70]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no list"),
        ("The genome is 10, 2, 0, 70.", "no list"),
        ("[10, 2, 0, 70", "no list"),
        ("[10, 2, 0, seventy]", "no list"),
        (f"[{'9' * 5000}, 2, 0, 70]", "no list"),
        ("[]", "another number"),
        ("[10, 2, 0]", "another number"),
        ("[10, 2, 0, 70, 3]", "another number"),
        ("[101, 2, 0, 70]", "beyond"),
        ("[10, 5, 0, 70]", "beyond"),
        ("[10, 2, 1, 70]", "beyond"),
        ("[-1, 2, 0, 70]", "beyond"),
        ("[10, 2, 0, NaN]", "beyond"),
        ("[10, 2, 0, 70.5]", "beyond"),
        ("[true, 2, 0, 70]", "beyond"),
        ('["10", 2, 0, 70]', "beyond"),
        ("[50, 2, 0, 50]", "same genome"),
    ],
)
def test_what_is_no_other_genome_is_refused(answer, reason):
    with pytest.raises(Unusable, match=reason):
        read(answer, GENES, [50, 2, 0, 50])
