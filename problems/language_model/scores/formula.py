"""A score that is a formula, as text or as a tree, over weights, inputs and gradients. Imports no torch."""

import ast
from collections.abc import Iterator
from typing import Any, Literal

import numpy
from pydantic import Field, field_validator

from evoprune import InputError, Settings, Tree

ARGUMENTS = {"w": None, "x": "input_norms", "g": "gradient_squares", "r": None, "c": None}
"""The arguments of a formula, and the statistic that each needs, see :class:`FormulaScore`."""

_FUNCTIONS = ("add", "sub", "mul", "div", "min", "max", "neg", "abs", "square", "sqrt", "exp", "log", "tanh")
_SIGNS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
_LARGEST = float(numpy.finfo(numpy.float32).max)
_TREE = Tree(_FUNCTIONS, [*ARGUMENTS], constants=(-_LARGEST, _LARGEST), deepest=90)

Scope = Literal["row", "matrix"]


def parsed(text: str) -> Any:
    """Return the formula ``text``, in Python's notation; nothing of it is evaluated. Raises :class:`InputError`."""
    try:
        genome = tuple(_nodes(ast.parse(text.strip(), mode="eval").body))
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        raise InputError(f"expected a formula such as w * sqrt(x), got '{text[:60]}'") from None
    _TREE.check(genome)
    return _TREE.chosen(genome)


def _nodes(node: ast.expr) -> Iterator[str | float]:
    """Yield the nodes of an expression in prefix notation."""
    match node:
        case ast.BinOp(left, sign, right) if type(sign) in _SIGNS:
            yield _SIGNS[type(sign)]
            yield from _nodes(left)
            yield from _nodes(right)
        case ast.UnaryOp(ast.USub(), operand):
            yield "neg"
            yield from _nodes(operand)
        case ast.Call(ast.Name(name), arguments, []) if name in _FUNCTIONS:
            if len(arguments) != (takes := len(_TREE.functions[name][1])):
                raise InputError(f"{name} takes {takes} argument(s), got {len(arguments)}")
            yield name
            for argument in arguments:
                yield from _nodes(argument)
        case ast.Name(name) if name in ARGUMENTS:
            yield name
        case ast.Constant(int() | float() as number) if not isinstance(number, bool):
            yield float(number)
        case _:
            names = f"{', '.join(ARGUMENTS)}, numbers, + - * / and {', '.join(_FUNCTIONS)}"
            raise InputError(f"cannot use '{ast.unparse(node)[:60]}'; a formula may hold {names}")


class FormulaSettings(Settings):
    """A score by a formula."""

    formula: str = Field(
        description="of w, weights, x, input norms, g, gradients, r and c, sums of w in rows and columns: w * sqrt(x)"
    )
    within: Scope = Field("row", description="the weights that are ranked together: of a row, or of the matrix")

    @field_validator("formula")
    @classmethod
    def _readable(cls, text: str) -> str:
        try:
            parsed(text)
        except InputError as error:
            raise ValueError(str(error)) from None
        return text

    def score(self) -> "FormulaScore":
        return FormulaScore(parsed(self.formula), self.within)

    def __str__(self) -> str:
        return self.formula


class FormulaScore:
    """A score by ``formula`` of five arguments, each a float32 array that spreads over the matrix.

    ``w``: absolute weights. ``x``: norms of the inputs. ``g``: roots of the mean squares of the gradients. All are
    divided by their means in the matrix, so that they can be added. ``r`` and ``c``: sums of ``w`` in the weight's
    output row and input column. Values beyond float32 become its largest, and what is no number becomes 0.
    """

    def __init__(self, formula: Any, within: str) -> None:
        self.formula, self.scope = formula, within
        self.needs = frozenset(name for argument in {*formula.genome} if (name := ARGUMENTS.get(argument)))

    def __call__(self, weight: Any, **measured: Any) -> Any:
        sizes = _over_mean(_array(weight.abs()))
        terms = {"w": sizes, "r": sizes.sum(1, keepdims=True), "c": sizes.sum(0, keepdims=True)}
        if "input_norms" in measured:
            terms["x"] = _over_mean(_array(measured["input_norms"]))
        if "gradient_squares" in measured:
            terms["g"] = _over_mean(_array(measured["gradient_squares"].sqrt()))
        with numpy.errstate(over="ignore"):
            values = numpy.float32(self.formula(**dict.fromkeys(ARGUMENTS, 0.0) | terms))
        return weight.new_tensor(numpy.broadcast_to(numpy.nan_to_num(values), sizes.shape))


def _array(tensor: Any) -> Any:
    return tensor.float().cpu().numpy()


def _over_mean(values: Any) -> Any:
    return values / max(values.mean(dtype=numpy.float64), numpy.finfo(values.dtype).tiny).astype(values.dtype)
