"""What is wrong with one field of a manifest, said so that its author can put it right."""

import json
from dataclasses import dataclass
from typing import Any, Final


class _Absent:
    """The value of a field that is not there."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""`FieldError.value` of a field that should be there and is not."""

REQUIRED = "FieldValueRequired"
INVALID = "FieldValueInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
TYPE_INVALID = "FieldValueTypeInvalid"
FORBIDDEN = "FieldValueForbidden"

_LONGEST_VALUE = 80
"""Longer values are cut in messages: the path says where to look."""


@dataclass(frozen=True)
class FieldError:
    """One mistake. `str()` words it as the Kubernetes API server does: `PATH: Invalid value: VALUE: MESSAGE`."""

    path: str
    """Where: `spec.autoscaling.minReplicas`, `spec.rollback.autoRollback.triggers[0].errorRate`."""
    value: Any
    """What stands there; `ABSENT` where nothing does."""
    message: str
    """What is allowed, and what to do."""
    reason: str = INVALID
    """Kubernetes' cause type, as `details.causes[].reason` of a 422 has it."""

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text

    @property
    def text(self) -> str:
        """The message without the path, as `details.causes[].message` has it."""
        if self.reason == REQUIRED:
            return f"Required value: {self.message}"
        if self.reason == FORBIDDEN:
            return f"Forbidden: {self.message}"
        if self.value is ABSENT:
            return self.message
        return f"Invalid value: {show_value(self.value)}: {self.message}"


def required(path: str, message: str) -> FieldError:
    return FieldError(path, ABSENT, message, REQUIRED)


def show_value(value: Any) -> str:
    """A value as JSON, cut to a readable length."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def kind_of(value: Any) -> str:
    """What kind of JSON value this is, in the words of a YAML author."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list | tuple):
        return "a list"
    return "an object"
