"""Base class and types of the schemas of settings and operators."""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
"""A share or probability in [0, 1]."""

Positive = Annotated[float, Field(gt=0.0)]
"""A number above 0."""


class Checked(BaseModel):
    """Base of user input: refuses unknown keys, numbers that are not finite, and ``true`` for a number."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, protected_namespaces=()
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {kind, *get_args(kind)}:
            raise ValueError(f"expected a number, got {value}")
        return value


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model that ``field`` takes a mapping for, null or not; None where it takes something else."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
