"""Primitives of trees by name: functions of numbers or arrays, defined for all of them."""

import operator
from collections.abc import Callable
from typing import Any

import numpy


def _div(numerator: Any, denominator: Any) -> Any:
    """Divide; 1 where the denominator is 0 (Koza, "Genetic Programming", 1992)."""
    divisible = numpy.not_equal(denominator, 0)
    return numpy.where(divisible, numpy.divide(numerator, numpy.where(divisible, denominator, 1.0)), 1.0)


def _log(number: Any) -> Any:
    """Return the logarithm of the magnitude; 0 at 0."""
    magnitude = numpy.abs(number)
    return numpy.log(numpy.where(magnitude > 0, magnitude, 1.0))


def _sqrt(number: Any) -> Any:
    """Return the root of the magnitude."""
    return numpy.sqrt(numpy.abs(number))


_ONE, _TWO = (float,), (float, float)

PRIMITIVES: dict[str, tuple[Callable[..., Any], tuple[type, ...], type]] = {
    "add": (operator.add, _TWO, float),
    "sub": (operator.sub, _TWO, float),
    "mul": (operator.mul, _TWO, float),
    "div": (_div, _TWO, float),
    "min": (numpy.minimum, _TWO, float),
    "max": (numpy.maximum, _TWO, float),
    "neg": (operator.neg, _ONE, float),
    "abs": (numpy.abs, _ONE, float),
    "square": (numpy.square, _ONE, float),
    "sqrt": (_sqrt, _ONE, float),
    "exp": (numpy.exp, _ONE, float),
    "log": (_log, _ONE, float),
    "sin": (numpy.sin, _ONE, float),
    "cos": (numpy.cos, _ONE, float),
    "tanh": (numpy.tanh, _ONE, float),
    "less": (numpy.less, _TWO, bool),
    "and": (numpy.logical_and, (bool, bool), bool),
    "or": (numpy.logical_or, (bool, bool), bool),
    "not": (numpy.logical_not, (bool,), bool),
    "if": (numpy.where, (bool, float, float), float),
}
"""The function of each primitive, the types of its arguments, and of its value."""
