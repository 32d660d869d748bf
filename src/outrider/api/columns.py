"""The columns in which Outrider's kinds are listed, by `kubectl get` and by `outrider get`.

Apart from the schemas, so that listing need not load them.
"""

from typing import Any


def _column(name: str, path: str, *, wide: bool = False, kind: str = "string") -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    return column | {"priority": 1} if wide else column


_AGE = _column("Age", ".metadata.creationTimestamp", kind="date")
_COLUMNS: dict[str, tuple[dict[str, Any], ...]] = {
    "LLMDeployment": (
        _column("Version", ".status.effectiveVersion"),
        _column("Phase", ".status.phase"),
        _column("Ready", ".status.ready"),
        _AGE,
        _column("Model", ".status.model", wide=True),
        _column("Stage", ".status.stage", wide=True),
        _column("Stable-Version", ".status.stableVersion", wide=True),
        _column("GPUs", ".status.gpus", wide=True),
        _column("P95", ".status.latencyP95", wide=True),
        _column("Err%", ".status.errorRate", wide=True),
        _column("$/h", ".status.costPerHour", wide=True),
        _column("URL", ".status.url", wide=True),
    ),
    "ModelRevision": (
        _column("Deployment", ".spec.deployment"),
        _column("Sequence", ".spec.sequence", kind="integer"),
        _column("Version", ".spec.version"),
        _column("State", ".status.state"),
        _AGE,
        _column("Model", ".spec.modelUri", wide=True),
        _column("Image", ".spec.image", wide=True),
    ),
    "VersionPin": (
        _column("Deployment", ".spec.deployment"),
        _column("Version", ".status.version"),
        _AGE,
        _column("Reason", ".spec.reason", wide=True),
    ),
}


def printer_columns(kind: str) -> tuple[dict[str, Any], ...]:
    """`additionalPrinterColumns` of a kind, as `kubectl get` prints them after NAME. Raises KeyError."""
    return _COLUMNS[kind]
