"""Laws of every registered operator, of ours and of other packages."""

import math
import pickle
from functools import partial

import pytest
from deap.tools import cxBlend
from pydantic import ValidationError

from evoprune import Individual, Permutation, Sequence, Tree
from evoprune.experiment import registry
from evoprune.experiment.parameters import DATA_ARGUMENTS, schema
from evoprune.experiment.resolve import ALWAYS_SUPPLIED
from evoprune.testing import check_operator

SPACES = {
    "permutation": Permutation(8),
    "sequence": Sequence("abcd", 2, 6),
    "tree": Tree(["add", "mul", "less", "if"], ["x"], constants=(-1, 1), deepest=5),
}
NEEDED = {
    "indpb": 0.3, "termpb": 0.3, "mode": "one", "fitness_size": 3, "parsimony_size": 1.4, "fitness_first": True,
    "eta": 15.0,
}  # fmt: skip
EVERY = [(slot, name) for slot in sorted(DATA_ARGUMENTS) for name in sorted(registry.operators(slot))]


def needed(slot, function):
    """Values of the parameters of ``function`` that have no default."""
    fields = schema(function, DATA_ARGUMENTS[slot], ALWAYS_SUPPLIED).model_fields
    keys = {key for key, field in fields.items() if field.is_required()}
    assert keys <= NEEDED.keys(), f"add {', '.join(sorted(keys - NEEDED.keys()))} to NEEDED"
    return {key: NEEDED[key] for key in keys}


def numbers():
    """Each real parameter of each operator, but for shares of the data, which breed nothing."""
    for slot, name in EVERY:
        model = schema(registry.operator(slot, name), DATA_ARGUMENTS[slot], ALWAYS_SUPPLIED)
        for key, field in model.model_fields.items():
            if field.annotation is float and key not in {*ALWAYS_SUPPLIED, "screening", "mutant_screening"}:
                yield pytest.param(slot, name, model, key, id=f"{slot}.{name}.{key}")


@pytest.mark.parametrize(("slot", "name"), EVERY, ids=[".".join(pair) for pair in EVERY])
def test_it_keeps_the_laws_of_its_slot(slot, name):
    """Whole runs test operators of several parts, and test_deap.py DEAP's on vectors, which need several genes."""
    function = registry.operator(slot, name)
    of_deap = registry.operators(slot)[name].value.startswith("deap.")
    for space in registry.breeds(slot, name) or ["genes", *SPACES]:
        if space != "mixed" and not (space == "genes" and of_deap):
            assert space in {"genes", *SPACES}, f"add a space '{space}' to SPACES"
            check_operator(slot, function, SPACES.get(space), **needed(slot, function))


@pytest.mark.parametrize("value", [1e-308, 1e308])
@pytest.mark.parametrize(("slot", "name", "model", "key"), [*numbers()])
def test_a_parameter_that_would_breed_infinite_genes_is_refused(slot, name, model, key, value):
    try:
        model(**{key: value})
    except ValidationError:
        return
    check_operator(slot, registry.operator(slot, name), **{key: value})


@pytest.mark.parametrize("value", [1.0, float("inf")])
@pytest.mark.parametrize("name", [name for slot, name in EVERY if slot == "select"])
def test_selection_works_where_all_are_equal(name, value):
    individuals = [Individual([float(place)]) for place in range(6)]
    for individual in individuals:
        individual.fitness.values = (value,)
    function = registry.operator("select", name)
    assert len(function(individuals, 2, **needed("select", function))) == 2


def beyond(individual, *, up):
    individual[:] = [most + 1 for most in up]
    return (individual,)


def infinite(individual):
    individual[0] = float("inf")
    return (individual,)


def missing(individual):
    raise KeyError("missing")


def not_a_number(individual):
    individual[0] = math.nan
    return (individual,)


def idle(individual, *, budget):
    return (individual,)


def unsteady(individual, calls=[]):  # noqa: B006
    calls.append(1)
    individual[0] = float(len(calls))
    return (individual,)


def everyone(individuals):
    return list(individuals)


@pytest.mark.parametrize(
    ("slot", "function", "law"),
    [
        ("mutate", beyond, "beyond the bounds"),
        ("mutate", infinite, "inf"),
        ("mutate", not_a_number, "nan"),
        ("mutate", missing, "KeyError"),
        ("mutate", "module:function", "expected a function"),
        ("repair", idle, "limit|allowed|beyond"),
        ("mutate", unsteady, "one seed"),
        ("mutate", lambda individual: (individual,), "pickl"),
        ("survive", everyone, "no place is left"),
    ],
)
def test_a_broken_law_is_named(slot, function, law):
    with pytest.raises((AssertionError, AttributeError, pickle.PicklingError), match=law):
        check_operator(slot, function)


def test_a_partial_function_is_checked():
    check_operator("mate", partial(cxBlend, alpha=0.3))
