"""Formulas as expressions of SymPy."""

import random

import pytest

from evoprune import Tree
from evoprune.spaces.primitives import PRIMITIVES

sympy = pytest.importorskip("sympy")
NUMBERS = [name for name, (_, takes, returns) in PRIMITIVES.items() if {*takes, returns} == {float}]


def test_an_expression_has_the_values_of_its_formula():
    space = Tree(NUMBERS, ["x", "S"], constants=(-1, 1), deepest=3)  # S is a name of SymPy's
    random.seed(1)
    compared = 0
    for _ in range(60):
        formula = space.chosen(space.random())
        value = formula.to_sympy().evalf(subs={sympy.Symbol("x", real=True): 0.7, sympy.Symbol("S", real=True): 1.3})
        if value.is_Float and abs(value) < 1e6:
            assert float(value) == pytest.approx(float(formula(0.7, 1.3)), rel=1e-6, abs=1e-9)
            compared += 1
    assert compared > 40


def twice(x: float) -> float:
    return 2 * x


def test_it_is_simplified_and_a_function_without_a_counterpart_stays():
    space = Tree(["add", "sub", "if", "less", twice], ["x"], constants=(-1, 1))
    assert str(sympy.simplify(space.chosen(("sub", "add", "x", "x", "x")).to_sympy())) == "x"
    assert str(space.chosen(("twice", "x")).to_sympy()) == "twice(x)"
    assert "less(x, 0.5)" in str(space.chosen(("if", "less", "x", 0.5, "x", 1.0)).to_sympy())
