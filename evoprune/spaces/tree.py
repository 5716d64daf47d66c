"""Trees of functions, as formulas and programs: genetic programming by DEAP's typed primitive sets."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy
from deap import gp

from evoprune.console.errors import as_tuple, cut_repr
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.space import Genome, Operator, Space, SpaceError
from evoprune.spaces.primitives import named_primitive, primitive_path
from evoprune.spaces.symbolic import expression

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}  # of formulas, for people
_CONSTANT = "constant"
_TYPES: dict[Any, type] = {"float": float, "bool": bool, "int": int}
_TRUTHS = {"True": True, "False": False}


class _Type(type):
    """Class of the types of a set. Its hash is that of the name: DEAP draws from sets of types, in their order."""

    number: int

    def __hash__(cls) -> int:
        return cls.number


class TreeIndividual(Individual, gp.PrimitiveTree):
    """A tree as DEAP breeds it: a list of nodes, depth first."""

    @property
    def genome(self) -> tuple[Any, ...]:
        return tuple([node.value if isinstance(type(node), gp.MetaEphemeral) else node.name for node in self])


class Tree(Space):
    """Trees with functions as inner nodes, and arguments and constants as leaves.

    ``primitives``: functions, by their annotations of ``float`` (the default), ``bool`` or classes, or names of
    :data:`.PRIMITIVES` or ``module:function``. ``arguments``: names of the arguments, or a mapping to their types.
    ``constants``: bounds of drawn numbers; None for none. ``deepest``: most levels below the root. ``returns``: the
    type of the whole tree.

    A genome is the tree in prefix notation: names of primitives and arguments, and numbers; nothing of it is evaluated
    as Python. The value of a genome is its :class:`Formula`.

    >>> from evoprune import Tree
    >>> formula = Tree(["add", "mul"], ["x"], constants=(-1, 1)).chosen(("add", "x", "mul", "x", 0.5))
    >>> formula, formula(2.0)
    (x + x * 0.5, 3.0)
    """

    name = "tree"

    def __init__(
        self, primitives: Sequence[str | Callable[..., Any]], arguments: Sequence[str] | Mapping[str, Any], *,
        constants: tuple[float, float] | None = None, deepest: int = 8, returns: Any = float,
    ) -> None:  # fmt: skip
        self.functions = dict(map(named_primitive, as_tuple(primitives, "primitives")))
        types = arguments if isinstance(arguments, Mapping) else dict.fromkeys(as_tuple(arguments, "arguments"), float)
        self.arguments: dict[str, Any] = {name: _TYPES.get(kind, kind) for name, kind in types.items()}
        self.constants, self.deepest, self._returns = constants, deepest, _TYPES.get(returns, returns)
        if not self.functions or deepest < 1:
            raise SpaceError("expected at least one primitive, and deepest of at least 1")
        taken = {*self.functions, *_TRUTHS, _CONSTANT}
        if faulty := [name for name in self.arguments if not str(name).isidentifier() or name in taken]:
            raise SpaceError(f"arguments: expected names other than {', '.join(taken)}, got {cut_repr(faulty[0])}")
        if constants is not None and not (len(constants) == 2 and constants[0] <= constants[1]):
            raise SpaceError(f"constants: expected two numbers, the lower one first, got {cut_repr(constants)}")
        self._check_complete()

    @cached_property
    def set(self) -> gp.PrimitiveSetTyped:
        """DEAP's set of primitives."""
        types: dict[Any, _Type] = {}

        def typed(kind: Any) -> _Type:
            if kind not in types:
                types[kind] = _Type(kind.__name__, (), {"number": zlib.crc32(kind.__name__.encode())})
            return types[kind]

        made = gp.PrimitiveSetTyped(self.name, [*map(typed, self.arguments.values())], typed(self._returns), "ARG")
        made.renameArguments(**{f"ARG{place}": name for place, name in enumerate(self.arguments)})
        for name in self.arguments:
            made.mapping[name].name = name
        for name, (function, takes, returns) in self.functions.items():
            made.addPrimitive(function, [*map(typed, takes)], typed(returns), name)
        for truth in (True, False) if bool in types else ():
            made.addTerminal(truth, typed(bool))
        if self.constants is not None:
            made.addEphemeralConstant(_CONSTANT, partial(random.uniform, *self.constants), typed(float))
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "set"}  # its types cannot be pickled

    def _check_complete(self) -> None:
        """Raise SpaceError for a type without a leaf: its trees would not end."""
        used = {self._returns, *(kind for _, takes, _ in self.functions.values() for kind in takes)}
        leaves = {*self.arguments.values(), bool} | ({float} if self.constants is not None else set())
        if missing := sorted(kind.__name__ for kind in used - leaves):
            raise SpaceError(f"no argument or constant is a {missing[0]}, which a primitive or the result is")
        if self._returns not in {returns for _, _, returns in self.functions.values()}:
            raise SpaceError(f"no primitive returns a {self._returns.__name__}, as the tree has to")

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "primitives": [primitive_path(name, function) for name, (function, _, _) in self.functions.items()],
            "arguments": {name: kind.__name__ for name, kind in self.arguments.items()},
            "constants": self.constants,
            "deepest": self.deepest,
            "returns": self._returns.__name__,
        }

    @property
    def supplied(self) -> Mapping[str, Any]:
        return {"pset": self.set, "expr": partial(gp.genFull, min_=0, max_=2)}

    def random(self) -> Genome:
        nodes = gp.genHalfAndHalf(self.set, 1, min(self.deepest, 4))
        return TreeIndividual(nodes).genome

    def check(self, genome: Genome) -> None:
        wanted, below = [self.set.ret], [0]
        for name in genome:
            if not wanted:
                break
            kind, depth = wanted.pop(), below.pop()
            node = self._node(name)
            if node is None:
                raise SpaceError(f"expected primitives, arguments and constants of the tree, got {cut_repr(name)}")
            if not issubclass(node.ret, kind):
                raise SpaceError(f"expected a {kind.__name__} in place of {cut_repr(name)}")
            if depth > self.deepest:
                raise SpaceError(f"expected at most {self.deepest} levels below the root")
            wanted += reversed(getattr(node, "args", ()))
            below += [depth + 1] * node.arity
        else:
            if not wanted:
                return
        raise SpaceError(f"expected one whole tree, got {cut_repr(genome)}")

    def _node(self, name: Any) -> Any:
        """Return the node that a genome has as ``name``; None if there is none."""
        if isinstance(name, str):
            return None if name == _CONSTANT else self.set.mapping.get(name)
        low, up = self.constants or (1.0, 0.0)
        if type(name) not in (int, float) or not low <= name <= up:
            return None
        kind = self.set.mapping[_CONSTANT]
        node = kind.__new__(kind)
        node.value = name
        return node

    def individual(self, genome: Genome, signs: Sequence[float] = (-1.0,)) -> Individual:
        return TreeIndividual([*map(self._node, genome)], signs)

    def adapted(self, slot: str, operator: Operator | None) -> Operator:
        if slot == "repair" or operator is None:
            return super().adapted(slot, operator)
        return partial(_limited, operator, self.deepest)

    def chosen(self, genome: Genome) -> Formula:
        return Formula(self, tuple(genome))

    def encoded(self, value: Any) -> Genome:
        return self.from_json(value.genome if isinstance(value, Formula) else value)

    def to_json(self, value: Any) -> Any:
        return [*self.encoded(value)]

    def shown(self, genome: Genome) -> Mapping[str, Any]:
        return {"formula": str(self.chosen(genome)), "nodes": len(genome)}

    def describe(self) -> str:
        return f"trees of {', '.join(self.functions)} over {', '.join(self.arguments)}"


class Formula:
    """A tree that can be called with its arguments, numbers or arrays, in their order or by name."""

    def __init__(self, tree: Tree, genome: tuple[Any, ...]) -> None:
        self.genome, self._tree = genome, tree

    @cached_property
    def _steps(self) -> list[tuple[Callable[..., Any] | None, int, int | None, Any]]:
        """Each node, last first: the function and the number of its arguments, or the place of an argument; name."""
        functions, places = self._tree.functions, {name: place for place, name in enumerate(self._tree.arguments)}
        steps: list[tuple[Callable[..., Any] | None, int, int | None, Any]] = []
        for name in reversed(self.genome):
            function, takes, _ = functions.get(name, (None, (), None))
            steps.append((function, len(takes), places.get(name), _TRUTHS.get(name, name)))
        return steps

    def __call__(self, *values: Any, **named: Any) -> Any:
        values += tuple(named[name] for name in [*self._tree.arguments][len(values) :])
        stack: list[Any] = []
        with numpy.errstate(all="ignore"):
            for function, takes, place, constant in self._steps:
                if function is None:
                    stack.append(constant if place is None else values[place])
                else:
                    stack[-takes:] = [function(*stack[: -takes - 1 : -1])]
        value = stack.pop()
        return value[()] if isinstance(value, numpy.ndarray) else value  # a number in place of an array of none

    def __str__(self) -> str:
        stack: list[tuple[str, bool]] = []  # texts, and whether they need brackets inside others
        for name in self.genome[::-1]:
            takes = self._tree.functions[name][1] if name in self._tree.functions else ()
            inner = [stack.pop() for _ in takes]
            if sign := _SIGNS.get(name) if len(inner) == 2 else None:
                first, second = (f"({text})" if needs else text for text, needs in _loose(name, inner))
                if sign in "+-" and second.startswith("(-") and " " not in second:  # a number
                    sign, second = "+-"[sign == "+"], second[2:-1]
                stack.append((f"{first} {sign} {second}", name in ("add", "sub")))
            elif inner:
                stack.append((f"{name}({', '.join(text for text, _ in inner)})", False))
            else:
                stack.append((f"{name:.6g}" if isinstance(name, float) else str(name), False))
        return stack.pop()[0]

    __repr__ = __str__

    def to_sympy(self) -> Any:
        """Return the formula as an expression of SymPy, which can simplify and typeset it."""
        return expression(self.genome, {name: len(takes) for name, (_, takes, _) in self._tree.functions.items()})

    def __len__(self) -> int:
        return len(self.genome)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and self.genome == other.genome

    def __hash__(self) -> int:
        return hash(self.genome)


def _loose(name: str, inner: Sequence[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    """Yield the two operands of ``name``, and whether each needs brackets."""
    (first, sum_first), (second, sum_second) = inner
    quotient = name == "div" and (" * " in second or " / " in second)
    yield first, sum_first and name in ("mul", "div")
    yield second, (sum_second and name != "add") or quotient or second.startswith("-")


def _limited(operator: Operator, deepest: int, *parents: TreeIndividual) -> tuple[Individual, ...]:
    """Breed; a child deeper than ``deepest`` becomes a copy of a parent (Koza, "Genetic Programming", 1992)."""
    kept = [parent.child() for parent in parents]
    children = []
    for child in operator(*parents):
        if len(child) > deepest and child.height > deepest:
            replaced = random.choice(kept).child()
            replaced.parents, child = child.parents, replaced
        children.append(child)
    return tuple(children)
