"""Where a pod's state lies on disk: one folder per pod, one per run of each container.

PODS/UID/pod.json                 what was given to the pod: address, ports, GPUs
PODS/UID/home/                    the containers' home folder
PODS/UID/CONTAINER/ATTEMPT/       one run: lock, run.json, exit.json, log/ (written by the shim)
"""

import hashlib
import os
import shutil
from pathlib import Path

import msgspec

from outrider.kube.files import make_private_folder

HOME = "home"


class PodRecord(msgspec.Struct, frozen=True, rename="camel"):
    """What a pod was given and must keep for life, whatever happens to the kubelet."""

    namespace: str
    name: str
    uid: str
    begun: float = 0.0
    """When the node took the pod on, seconds since the epoch."""
    containers: list[str] = []
    restart_policy: str = "Always"
    address: str = ""
    host_ports: dict[int, int] = {}
    """Container port to port of this machine, where all pods share one address."""
    gpus: dict[str, list[int]] = {}
    """Container to the indexes of its GPUs."""
    deletion_deadline: float | None = None
    """When the grace period of the pod's deletion ends, seconds since the epoch."""


class PodFolder:
    """The folder of one pod."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = path / HOME

    def read(self) -> PodRecord | None:
        """The record; None if there is none, or only half of one."""
        try:
            return msgspec.json.decode((self.path / "pod.json").read_bytes(), type=PodRecord)
        except (OSError, msgspec.MsgspecError):
            return None

    def write(self, record: PodRecord) -> None:
        make_private_folder(self.home)
        write_atomically(self.path / "pod.json", msgspec.json.encode(record))

    def attempts(self, container: str) -> list[int]:
        """The numbers of the container's runs that are still on disk, oldest first."""
        try:
            return sorted(int(entry.name) for entry in (self.path / container).iterdir() if entry.name.isdecimal())
        except OSError:
            return []

    def containers(self) -> list[str]:
        try:
            return sorted(entry.name for entry in self.path.iterdir() if entry.is_dir() and entry.name != HOME)
        except OSError:
            return []

    def runs(self) -> list[Path]:
        """The folders of all runs of all containers."""
        return [self.run(container, attempt) for container in self.containers() for attempt in self.attempts(container)]

    def run(self, container: str, attempt: int) -> Path:
        return self.path / container / str(attempt)

    def forget_before(self, container: str, attempt: int) -> None:
        """Remove the runs before this one, logs included."""
        for number in self.attempts(container):
            if number < attempt:
                shutil.rmtree(self.run(container, number), ignore_errors=True)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def pod_folders(pods: Path) -> list[PodFolder]:
    """The folders of all pods that have left something on disk."""
    try:
        return [PodFolder(entry) for entry in sorted(pods.iterdir()) if entry.is_dir() and entry.name[0] != "."]
    except OSError:
        return []


def container_id(uid: str, container: str, attempt: int) -> str:
    """The id of a run, as `containerStatuses[].containerID` shows it. The same run has the same id for ever."""
    return "outrider://" + hashlib.sha256(f"{uid}/{container}/{attempt}".encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that only its user may read, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as handle:
        handle.write(content)
    temporary.replace(path)
