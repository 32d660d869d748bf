"""Simulated GPUs that fall off the bus, as a fault injection does it, and what pods say of theirs."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any


def lose_gpus(pods: Path, node: str, uuids: Collection[str]) -> None:
    """Of a node whose kubelet keeps its state in this folder."""
    path = pods / node / ".gpus" / "gpus.json"
    gpus = json.loads(path.read_text())["gpus"]
    changed = [gpu | {"lost": True} if gpu["uuid"] in uuids else gpu for gpu in gpus]
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"gpus": changed}))
    new.replace(path)


def gpus_of(pod: Mapping[str, Any]) -> dict[str, str]:
    """Health by UUID of the GPUs that the pod was given, as its status tells."""
    return {
        device["resourceID"]: device["health"]
        for status in pod["status"].get("containerStatuses") or ()
        for resource in status.get("allocatedResourcesStatus") or ()
        for device in resource["resources"]
    }
