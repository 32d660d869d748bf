"""The local world's store: objects with the semantics of a Kubernetes API server, in memory or in a file."""

from outrider.local.store.log_source import LogOptions, LogSource
from outrider.local.store.persistence import StoreError
from outrider.local.store.store import Store
from outrider.local.store.store_api import StoreApi

__all__ = ["LogOptions", "LogSource", "Store", "StoreApi", "StoreError"]
