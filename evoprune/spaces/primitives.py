"""Primitives of trees: functions of numbers or arrays by name, defined for all numbers; and functions of a user."""

import inspect
import operator
from collections.abc import Callable
from typing import Any, get_type_hints

import numpy

from evoprune.console.errors import InputError, cut_repr, did_you_mean
from evoprune.experiment.registry import find_plugin, local_functions
from evoprune.interfaces.space import SpaceError

Primitive = tuple[Callable[..., Any], tuple[type, ...], type]
"""A function, the types of its arguments, and of its value."""


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

PRIMITIVES: dict[str, Primitive] = {
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


def named_primitive(primitive: Any) -> tuple[str, Primitive]:
    """Return the name of ``primitive``, which is a function or its name, and the primitive.

    Raises :class:`.SpaceError` for others.
    """
    if isinstance(primitive, str) and primitive in PRIMITIVES:
        return primitive, PRIMITIVES[primitive]
    function = primitive if callable(primitive) else _found(primitive)
    if isinstance(function, numpy.ufunc):
        if function.nout > 1:
            raise SpaceError(f"primitives: expected functions of one result, got {function.__name__}")
        return function.__name__, (function, function.nin * (float,), float)
    hints = get_type_hints(function)
    takes = tuple(hints.get(name, float) for name in inspect.signature(function).parameters)
    return function.__name__, (function, takes, hints.get("return", float))


def _found(name: Any) -> Callable[..., Any]:
    if not isinstance(name, str):
        raise SpaceError(f"primitives: expected functions and their names, got {cut_repr(name)}")
    if ":" not in name:
        raise SpaceError(f"primitives: unknown '{name}'{did_you_mean(name, PRIMITIVES)}")
    try:
        return find_plugin("", name)  # type: ignore[no-any-return]
    except InputError as error:
        raise SpaceError(f"primitives: {error}") from None


def primitive_path(name: str, function: Callable[..., Any]) -> str:
    """Return the name by which experiments find ``function``; other processes need ``module:function``."""
    if name in PRIMITIVES and function is PRIMITIVES[name][0]:
        return name
    path = f"{function.__module__}:{function.__qualname__}"
    if "<" in path or function.__module__ == "__main__":
        local_functions[path] = function
    return path
