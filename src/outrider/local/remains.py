"""What a world leaves that was killed: processes, and a network namespace."""

from outrider.local.controlplane.namespace import Anchor
from outrider.local.folder import WorldFolder
from outrider.local.kubelet import end_all_containers


def end_leftovers(folder: WorldFolder) -> int:
    """End what a crash of a world that is not running has left; tells how many containers there were.

    Blocks; to be called without an event loop, or in a thread.
    """
    containers = end_all_containers(folder.pods) if folder.pods.is_dir() else 0
    Anchor(folder.control_plane).end()
    return containers


def start_empty(folder: WorldFolder) -> None:
    """Forget what an earlier run of the world has kept or left. To be called by who has the world's lock. Blocks."""
    end_leftovers(folder)
    folder.clear()
