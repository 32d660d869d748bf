"""Specs and edits from which scenarios of the simulation are written down."""

from typing import Any

from outrider.sim.crashes import NAME
from outrider.sim.incidents import Edit

NOT_WATCHED = {"minRequests": 0}
ROLLING = {"rolloutStrategy": "RollingUpdate"}
TWO_GPUS = {"requests": {"nvidia.com/gpu": "2"}}
WATCHED = {"enabled": True, "window": "15s", "triggers": [{"errorRate": ">1%"}]}


def spec(version: str, replicas: int, standby: str, rollback: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": version},
        "replicas": replicas,
        "resources": {"requests": {"nvidia.com/gpu": "1"}},
        "rollback": {"standby": standby, "autoRollback": rollback},
        **more,
    }


def canary(*steps: tuple[int, str]) -> dict[str, Any]:
    return {"rolloutStrategy": "Canary", "canary": {"steps": [{"weight": w, "duration": d} for w, d in steps]}}


def blue_green(preview: str, **more: Any) -> dict[str, Any]:
    return {"rolloutStrategy": "BlueGreen", "blueGreen": {"previewDuration": preview, **more}}


def edit(at: float, **patch: Any) -> Edit:
    return Edit(at=at, deployment=NAME, spec=patch)


def version(at: float, name: str, **more: Any) -> Edit:
    return edit(at, model={"version": name}, **more)
