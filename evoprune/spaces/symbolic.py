"""Formulas of trees as expressions of SymPy."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evoprune.console.errors import InputError


def expression(genome: Sequence[Any], arities: Mapping[str, int]) -> Any:
    """Return the tree ``genome`` as an expression of SymPy; primitives that it lacks stay unknown functions.

    ``div``, ``sqrt`` and ``log`` are as in mathematics: without a value where ours are protected.
    """
    try:
        import sympy
    except ImportError:
        raise InputError("needs another package: pip install sympy", "to_sympy") from None
    known: dict[str, Callable[..., Any]] = {
        "add": lambda first, second: first + second,
        "sub": lambda first, second: first - second,
        "mul": lambda first, second: first * second,
        "div": lambda first, second: first / second,
        "neg": lambda number: -number,
        "square": lambda number: number**2,
        "sqrt": lambda number: sympy.sqrt(sympy.Abs(number)),
        "log": lambda number: sympy.log(sympy.Abs(number)),
        "abs": sympy.Abs,
        "min": sympy.Min,
        "max": sympy.Max,
        "exp": sympy.exp,
        "sin": sympy.sin,
        "cos": sympy.cos,
        "tanh": sympy.tanh,
    }
    stack: list[Any] = []
    for name in reversed(genome):
        if takes := arities.get(name, 0):
            operands = [stack.pop() for _ in range(takes)]
            stack.append(known.get(name, sympy.Function(name))(*operands))
        else:
            stack.append(sympy.Symbol(name, real=True) if isinstance(name, str) else sympy.sympify(name))
    return stack.pop()
