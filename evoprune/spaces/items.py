"""Base of spaces whose genomes are lists of items."""

from collections.abc import Sequence
from typing import Any

from evoprune.console.errors import cut_repr
from evoprune.interfaces.space import Genome, Space, SpaceError, frozen


class Items(Space):
    """Genomes with the places of ``items``, as whole numbers; the items are at least two, and different."""

    def __init__(self, items: tuple[Any, ...], argument: str) -> None:
        """Set the items. ``argument``: their name, for errors."""
        self.items = items
        try:
            self._places = {item: place for place, item in enumerate(items)}
        except TypeError:
            raise SpaceError(f"{argument}: expected texts, numbers or tuples, got {cut_repr(items)}") from None
        if len(items) < 2 or len(self._places) < len(items):
            raise SpaceError(f"{argument}: expected at least two, all different, got {cut_repr(items)}")

    def chosen(self, genome: Genome) -> list[Any]:
        return [self.items[place] for place in genome]

    def encoded(self, value: Sequence[Any]) -> Genome:
        try:
            return self.from_json([self._places[item] for item in frozen(value)])
        except (KeyError, TypeError):
            raise SpaceError(f"expected one of {self.describe()}, got {cut_repr(value)}") from None
