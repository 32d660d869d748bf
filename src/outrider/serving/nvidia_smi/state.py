"""The simulated GPUs of a node, as a JSON file tells them, and which of them this process may see.

    {"gpus": [{"index": 0, "uuid": "GPU-...", "product": "NVIDIA-H100-80GB-HBM3"}, ...]}

Each GPU may have more keys: a field's name, as `--query-gpu` knows it, with the value that it shall have
(`"temperature.gpu": 96`), and `"lost": true` for one that has fallen off the bus. The file is read at every call, so
that a fault shows as soon as it is written.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outrider.serving.nvidia_smi.products import Product, product_of

STATE_VARIABLE = "OUTRIDER_GPUS"
"""Environment variable that names the file."""
VISIBLE_VARIABLE = "NVIDIA_VISIBLE_DEVICES"
_OWN_KEYS = frozenset({"index", "uuid", "product", "lost"})


class StateError(Exception):
    """There is no such file, or it is not what it must be."""


@dataclass(frozen=True)
class Gpu:
    """One GPU as this process sees it."""

    index: int
    """As it is seen here: a container's GPUs are counted from 0."""
    device: int
    """Its number on the node."""
    uuid: str
    product: Product
    lost: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bus_id(self) -> str:
        return f"00000000:{16 + 8 * self.device:02X}:00.0"


def read_gpus(environ: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The GPUs that this process may see.

    Raises:
        StateError: it cannot be told.
    """
    path = environ.get(STATE_VARIABLE, "")
    try:
        entries = json.loads(Path(path).read_bytes())["gpus"]
        chosen = _visible(entries, environ.get(VISIBLE_VARIABLE, "all"))
        return [_gpu(number, entry) for number, entry in enumerate(chosen)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{STATE_VARIABLE}={path}: {error}") from None


def _visible(entries: Sequence[Mapping[str, Any]], visible: str) -> list[Mapping[str, Any]]:
    """As the NVIDIA container toolkit reads the variable."""
    if visible == "all":
        return list(entries)
    wanted = {word.strip() for word in visible.split(",")} - {"", "void", "none"}
    return [entry for entry in entries if str(entry["index"]) in wanted or entry["uuid"] in wanted]


def _gpu(number: int, entry: Mapping[str, Any]) -> Gpu:
    return Gpu(
        index=number,
        device=int(entry["index"]),
        uuid=str(entry["uuid"]),
        product=product_of(str(entry["product"])),
        lost=bool(entry.get("lost")),
        overrides={key: value for key, value in entry.items() if key not in _OWN_KEYS},
    )
