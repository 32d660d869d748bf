"""Other projects' CustomResourceDefinitions, for a control plane that lacks them."""

import os
import runpy
from pathlib import Path

import pytest

from outrider.local.controlplane.programs import Programs

_TOOL = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "kubernetes" / "extra_crds.py"))


def extra_crds(name: str) -> Path:
    """The folder with the definitions of `inference-extension` or `prometheus-operator`.

    Where they cannot be had the test is skipped, visibly, and in CI it fails.
    """
    try:
        folder: Path = _TOOL["folder"](name)
    except _TOOL["NotAvailable"] as error:
        return _missing(f"no definitions of {name}: {error}")
    return folder


def gateway_api(programs: Programs) -> Path:
    """The folder with Gateway API's own, which come with the control plane."""
    if not programs.gateway_api:
        return _missing(f"{programs.folder} has no definitions of the Gateway API (crds/gateway-api)")
    return programs.gateway_api[0].parent


def _missing(message: str) -> Path:
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
