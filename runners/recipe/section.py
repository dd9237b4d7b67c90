"""The base of a recipe's sections: fixed once read, and no key that is not declared."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator

from results.registry import refuse_converted


class Section(BaseModel):
    """A part of a recipe: fixed once read, and no key that is not declared."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        coerce_numbers_to_str=True,  # a folder may be called 2024
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _numbers_are_written_as_such(cls, given: Any, check: ValidatorFunctionWrapHandler) -> Any:
        checked = check(given)
        refuse_converted(given, checked)
        return checked
