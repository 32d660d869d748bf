"""A node's simulated GPUs as its containers see them: a file that says how they are, and an `nvidia-smi` that reads it.

To the kubelet the file is what a device plugin is: a GPU that is lost is unhealthy.

NODE/.gpus/gpus.json      the GPUs: `index`, `uuid`, `product`, and what a fault injection adds (see the reader)
NODE/.gpus/nvidia-smi     on the PATH of containers and of commands in them
"""

import os
import shlex
import sys
import uuid
from pathlib import Path

import msgspec

from outrider.kube.files import make_private_folder
from outrider.local.kubelet.layout import write_atomically
from outrider.local.kubelet.node import NodeConfig

FOLDER = ".gpus"
"""In the node's folder; no pod's folder begins with a dot."""
STATE_VARIABLE = "OUTRIDER_GPUS"
READER_MODULE = "outrider.serving.nvidia_smi"
_NAMESPACE = uuid.UUID("6f7a2f0e-3d4b-4b8a-9c1e-0a7d5b1c2e90")
"""For UUIDs of GPUs: the same GPU of the same node is the same after a restart."""


class SimulatedGpus:
    """The files of one node."""

    def __init__(self, node_folder: Path, node: NodeConfig) -> None:
        self._folder = node_folder / FOLDER
        self._node = node
        self._stamp = 0

    @property
    def state(self) -> Path:
        """The file that says how the GPUs are. Whoever writes it anew changes what `nvidia-smi` tells."""
        return self._folder / "gpus.json"

    def prepare(self) -> None:
        """Write the files. What the state says of GPUs that the node still has is kept. Raises `OSError`."""
        make_private_folder(self._folder)
        known = {gpu["index"]: gpu for gpu in self._read() if gpu.get("product") == self._node.gpu_product}
        gpus = [known.get(index) or self._new(index) for index in range(self._node.gpus)]
        write_atomically(self.state, msgspec.json.format(msgspec.json.encode({"gpus": gpus}), indent=2))
        program = self._folder / "nvidia-smi"
        write_atomically(program, _launcher().encode())
        program.chmod(0o700)

    def changed(self) -> bool:
        """Whether the file is another one than at the last call. Blocks for no longer than a look at the folder."""
        try:
            stamp = self.state.stat().st_mtime_ns
        except OSError:
            return False  # it is about to be there again, or nobody can tell how the GPUs are: they stay as they were
        changed, self._stamp = stamp != self._stamp, stamp
        return changed

    def health(self) -> dict[int, tuple[str, bool]]:
        """By index: the GPU's UUID, and whether it is healthy. Empty where the file cannot be read."""
        return {
            index: (str(gpu.get("uuid", "")), not gpu.get("lost"))
            for gpu in self._read()
            if isinstance(index := gpu["index"], int)
        }

    def environment(self, path: str) -> dict[str, str]:
        """What a container's environment has for it, given its PATH."""
        return {"PATH": f"{self._folder}{os.pathsep}{path}", STATE_VARIABLE: str(self.state)}

    def _read(self) -> list[dict[str, object]]:
        try:
            found = msgspec.json.decode(self.state.read_bytes(), type=dict[str, list[dict[str, object]]])
        except (OSError, msgspec.MsgspecError):
            return []
        return [gpu for gpu in found.get("gpus", []) if "index" in gpu]

    def _new(self, index: int) -> dict[str, object]:
        name = uuid.uuid5(_NAMESPACE, f"{self._folder}/{index}")
        return {"index": index, "uuid": f"GPU-{name}", "product": self._node.gpu_product}


def _launcher() -> str:
    """Runs our own Python, whatever the container's environment says of Pythons."""
    path = f"PYTHONPATH={shlex.quote(os.environ['PYTHONPATH'])} " if os.environ.get("PYTHONPATH") else ""
    return f'#!/bin/sh\nunset PYTHONHOME PYTHONPATH\n{path}exec {shlex.quote(sys.executable)} -m {READER_MODULE} "$@"\n'
