"""The store's refusals, worded and structured as an API server's: `kubectl` and client libraries read the details."""

from collections.abc import Sequence
from typing import Any

import msgspec

from outrider.kube.api import AlreadyExists, ApiError, BadRequest, Conflict, Invalid, Kind, NotFound

USE_KUBERNETES = "`outrider up --kubernetes` runs a real control plane, which does"


class Cause(msgspec.Struct, frozen=True):
    """One thing that is wrong with an object: an entry of `status.details.causes`."""

    field: str
    """Path as people write it: `spec.template.spec.containers[0].image`."""
    message: str
    """Begins with what sort of wrong it is: `Required value`, `Invalid value: "x": ...`, `Forbidden: ...`."""
    reason: str = "FieldValueInvalid"


def required(field: str, why: str = "") -> Cause:
    return Cause(field, f"Required value: {why}" if why else "Required value", "FieldValueRequired")


def invalid_value(field: str, value: Any, why: str) -> Cause:
    return Cause(field, f"Invalid value: {msgspec.json.encode(value).decode()}: {why}")


def forbidden(field: str, why: str) -> Cause:
    return Cause(field, f"Forbidden: {why}", "FieldValueForbidden")


def duplicate(field: str, value: Any) -> Cause:
    return Cause(field, f"Duplicate value: {msgspec.json.encode(value).decode()}", "FieldValueDuplicate")


def resource(kind: Kind[Any]) -> str:
    """How messages name a kind: `deployments.apps`, or `pods` in the core group."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def details(kind: Kind[Any], name: str) -> dict[str, Any]:
    found = {"name": name, "kind": kind.plural}
    return found | {"group": kind.group} if kind.group else found


def not_found(kind: Kind[Any], name: str) -> NotFound:
    return NotFound(f'{resource(kind)} "{name}" not found', details=details(kind, name))


def unknown_kind(kind: Kind[Any]) -> NotFound:
    return NotFound(f"the local world does not serve {resource(kind)} ({kind.version}); {USE_KUBERNETES}")


def already_exists(kind: Kind[Any], name: str) -> AlreadyExists:
    return AlreadyExists(f'{resource(kind)} "{name}" already exists', details=details(kind, name))


def conflict(kind: Kind[Any], name: str, why: str) -> Conflict:
    return Conflict(f'Operation cannot be fulfilled on {resource(kind)} "{name}": {why}', details=details(kind, name))


def modified(kind: Kind[Any], name: str) -> Conflict:
    """The resource version that a write was conditional on is not the object's any more."""
    return conflict(
        kind, name, "the object has been modified; please apply your changes to the latest version and try again"
    )


def invalid(kind: Kind[Any], name: str, causes: Sequence[Cause]) -> Invalid:
    """All that is wrong with the object, in one error."""
    what = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    told = [f"{cause.field}: {cause.message}" for cause in causes]
    text = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    found = details(kind, name) | {"kind": kind.kind, "causes": [msgspec.to_builtins(cause) for cause in causes]}
    return Invalid(f'{what} "{name}" is invalid: {text}', details=found)


def bad_request(message: str) -> BadRequest:
    return BadRequest(message)


def unsupported_media_type(message: str) -> ApiError:
    return ApiError(message, status=415, reason="UnsupportedMediaType")


def internal(message: str) -> ApiError:
    return ApiError(message, status=500, reason="InternalError")


def no_subresource(kind: Kind[Any], subresource: str) -> NotFound:
    return NotFound(f"{resource(kind)} have no subresource {subresource!r} in the local world")
