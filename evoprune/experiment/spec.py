"""The typed form of an experiment's YAML file, with all defaults."""

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from evoprune.console.errors import cut_repr
from evoprune.experiment import registry
from evoprune.interfaces.problem import Checked, Fraction

NO_END = 10_000_000  # generations without a limit
SEEDS = 2**32
AUTO = "auto"  # an algorithm chosen by the number of objectives, and the limit


class Choice(BaseModel):
    """A plugin by name and its parameters: ``{use: blend, alpha: 0.5}``, or just ``blend``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str = Field(description="a registered name, or module:attribute")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"use": value}
        if not isinstance(value, (dict, Choice)):
            raise ValueError(f"expected a name, or a mapping {{use: NAME, ...}}, got {cut_repr(value)}")
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as the user wrote them, not yet checked."""
        return dict(self.model_extra or {})


def _default(slot: str) -> Callable[[], Choice]:
    return lambda: Choice(use=registry.default_choice("defaults", "genes")[slot])


class Operators(Checked):
    """The operators of the toolbox, a slot each."""

    algorithm: Choice = Field(
        default_factory=_default("algorithm"),
        description="the search loop: breeds and asks for scores; auto: by the number of objectives, and the limit",
    )
    select: Choice = Field(default_factory=_default("select"), description="draws the parents of a child")
    mate: Choice = Field(default_factory=_default("mate"), description="crosses two parents into two children")
    mutate: Choice = Field(default_factory=_default("mutate"), description="changes one child")
    repair: Choice | None = Field(None, description="brings a candidate back to the budget")
    survive: Choice = Field(
        default_factory=_default("survive"), description="chooses who passes to the next generation unchanged"
    )

    def items(self) -> Iterator[tuple[str, Choice]]:
        return ((slot, choice) for slot in type(self).model_fields if (choice := getattr(self, slot)) is not None)


class Experiment(Checked):
    """Everything that decides a run's result."""

    problem: Choice = Field(description="the problem and its parameters")
    operators: Operators = Field(default_factory=Operators, description="the operators, a slot each")
    population: int = Field(20, ge=2, le=1_000_000, description="individuals in a generation")
    generations: int = Field(
        20, ge=0, le=NO_END, description="generations after the first; without limit if a budget alone is given"
    )
    budget: float | None = Field(
        None, gt=0, description="work, in the problem's unit, after which no generation begins; null is no limit"
    )
    mate_probability: Fraction = Field(1.0, description="how often a pair of parents is crossed")
    mutate_probability: Fraction = Field(1.0, description="how often a child is mutated")
    max_failures: Fraction = Field(0.5, description="share of failed candidates above which the run stops")
    seed: int = Field(0, ge=0, lt=SEEDS, description="seed of all random draws")
    plugins: tuple[str, ...] = Field((), description="modules whose attributes may be named as module:attribute")

    @property
    def automatic(self) -> bool:
        """True if the algorithm is still to be chosen."""
        return self.operators.algorithm.use == AUTO

    @model_validator(mode="before")
    @classmethod
    def _budget_alone_decides(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("budget") is not None and "generations" not in value:
            return {**value, "generations": NO_END}
        return value
