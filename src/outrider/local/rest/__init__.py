"""The local world's REST door: Kubernetes' paths and JSON over the store, on loopback and by token only."""

from outrider.local.rest.app import make_app
from outrider.local.store import LogOptions, LogSource

__all__ = ["LogOptions", "LogSource", "make_app"]
