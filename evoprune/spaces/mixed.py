"""Genomes of several parts, each of a space of its own."""

import inspect
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

from evoprune.console.errors import InputError, cut_repr
from evoprune.experiment import parameters, registry
from evoprune.experiment.explain import validated
from evoprune.experiment.resolve import checked_operator, refuse_other_space
from evoprune.experiment.spec import Choice
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.space import Genome, Operator, Space, SpaceError


class MixedIndividual(Individual):
    """An individual of individuals, a part each."""

    def child(self, genes: Any = None) -> Individual:
        return super().child([part.child() for part in self] if genes is None else genes)

    @property
    def genome(self) -> tuple[Any, ...]:
        return tuple(part.genome for part in self)


class Mixed(Space):
    """Genomes with a part of each of several spaces, by name. Operators of each part's space breed it.

    A function gets the values of the parts by their names, if its parameters have them, or else their mapping.

    >>> from evoprune import Gene, Genes, Mixed, Permutation
    >>> Mixed(order=Permutation(3), speed=Genes([Gene("v")])).chosen(((2, 0, 1), (0.5,)))
    {'order': [2, 0, 1], 'speed': [0.5]}
    """

    name = "mixed"

    def __init__(self, **parts: Space) -> None:
        self.parts = parts
        if not parts or not all(isinstance(part, Space) for part in parts.values()):
            raise SpaceError(f"expected a space for each part, got {cut_repr(parts)}")

    def random(self) -> Genome:
        return tuple(tuple(part.random()) for part in self.parts.values())

    def check(self, genome: Genome) -> None:
        if len(genome) != len(self.parts):
            raise SpaceError(f"expected {len(self.parts)} parts, got {len(genome)}")
        for (name, space), part in zip(self.parts.items(), genome, strict=True):
            try:
                if not isinstance(part, tuple):
                    raise SpaceError(f"expected a list, got {cut_repr(part)}")
                space.check(part)
            except ValueError as error:
                raise SpaceError(f"{name}: {error}") from None

    @property
    def size(self) -> float:
        return math.prod(space.size for space in self.parts.values())

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.parts

    def chosen(self, genome: Genome) -> dict[str, Any]:
        return {name: space.chosen(part) for (name, space), part in zip(self.parts.items(), genome, strict=True)}

    def encoded(self, value: Any) -> Genome:
        return tuple(tuple(space.encoded(part)) for space, part in self._each(value))

    def to_json(self, value: Any) -> Any:
        return {name: space.to_json(value[name]) for name, space in self.parts.items()}

    def key(self, value: Any) -> Hashable:
        return tuple(space.key(part) for space, part in self._each(value))

    def _each(self, value: Any) -> list[tuple[Space, Any]]:
        if not isinstance(value, Mapping) or value.keys() != self.parts.keys():
            raise SpaceError(f"expected a mapping with {', '.join(self.parts)}, got {cut_repr(value)}")
        return [(space, value[name]) for name, space in self.parts.items()]

    def individual(self, genome: Genome, signs: Sequence[float] = (-1.0,)) -> Individual:
        parts = zip(self.parts.values(), genome, strict=True)
        return MixedIndividual([space.individual(part, signs) for space, part in parts], signs)

    def adapted(self, slot: str, operator: Operator | None) -> Operator:
        """Return ``operator``; its choices ``of_parts`` become an operator for each part."""
        if isinstance(operator, partial) and "of_parts" in operator.keywords:
            return partial(operator, of_parts=self._of_parts(slot, operator.keywords["of_parts"] or {}))
        if slot != "repair" or operator is not None:
            return super().adapted(slot, operator)
        repairs = [space.adapted(slot, None) for space in self.parts.values()]

        def repair(individual: Individual) -> tuple[Individual]:
            for place, of_part in enumerate(repairs):
                (individual[place],) = of_part(individual[place])
            return (individual,)

        return repair

    def _of_parts(self, slot: str, choices: Mapping[str, Any]) -> dict[str, Operator]:
        for name in choices.keys() - self.parts:
            raise InputError(f"operators.{slot}.of_parts: expected parts ({', '.join(self.parts)}), got '{name}'")
        return {name: _operator(slot, name, space, choices.get(name)) for name, space in self.parts.items()}

    def called(self, function: Callable[..., Any]) -> Callable[[Any], Any]:
        try:
            names = {*inspect.signature(function).parameters}
        except (TypeError, ValueError):
            return function
        return (lambda value: function(**value)) if names == {*self.parts} else function

    def shown(self, genome: Genome) -> Mapping[str, Any]:
        parts = zip(self.parts.items(), genome, strict=True)
        return {f"{name}: {key}": shown for (name, space), part in parts for key, shown in space.shown(part).items()}

    def describe(self) -> str:
        return "; ".join(f"{name}: {space.describe()}" for name, space in self.parts.items())


def _operator(slot: str, part: str, space: Space, choice: Any) -> Operator:
    """Return the operator ``choice`` of ``space``, that of ``part``; by default the space's."""
    path, faults = f"operators.{slot}.of_parts.{part}", list[str]()
    chosen = validated(Choice, choice or registry.default_choice("defaults", space.name)[slot], None, path)
    refuse_other_space(slot, chosen.use, space, path)
    operator = checked_operator(slot, chosen, path, (), faults)
    if not operator:
        raise InputError(faults)
    arguments = parameters.arguments(operator.parameters, {**space.supplied, "space": space})
    return space.adapted(slot, partial(operator.function, **arguments))
