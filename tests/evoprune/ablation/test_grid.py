import pytest

from evoprune import InputError
from evoprune.ablation.runs import variants


def test_all_combinations_in_order():
    found = variants(["operators.mate=blend,uniform", "sparsity=0.3,0.45"])
    assert [variant.settings for variant in found] == [
        (f"operators.mate={mate}", f"problem.sparsity={sparsity}")
        for mate in ("blend", "uniform")
        for sparsity in (0.3, 0.45)
    ]
    assert found[0].name == "mate=blend, sparsity=0.3"


@pytest.mark.parametrize(
    "varied", ["score", "score=", "score=wanda", "=a,b", "a..b=1,2", "a=[1,2", "a=1,1", "a=2001-99-99,3"]
)
def test_nothing_to_vary_is_refused(varied):
    with pytest.raises(InputError, match="--vary"):
        variants([varied])


def test_what_all_variants_share_is_given_once():
    with pytest.raises(InputError, match="all variants share it; give --seeds instead"):
        variants(["seed=1,2"], {"seed": "--seeds"})
    assert [variant.name for variant in variants(["seed=1,2"])] == ["seed=1", "seed=2"]
