"""Two operators on a real API server: whatever becomes of the leader, the other acts, and never do both.

How soon it acts is promised in virtual time (`tests/controllers/test_operator_leaders.py`).
"""

import datetime as dt
import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from control_plane import RunningPlane
from operator_processes import Operators, OperatorUnderTest, Relay, operators
from plan_world import LLAMA
from story_world import wait_for

from outrider.cli.errors import Exit


@contextmanager
def busy(plane: RunningPlane, namespace: str) -> Iterator[None]:
    """Somebody changes the desired state again and again, so that whoever leads has always something to write."""
    manifest = {**LLAMA, "metadata": {"name": "llama", "namespace": namespace}}
    plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    done = threading.Event()

    def edit() -> None:
        for replicas in itertools.cycle((1, 2, 3)):
            patch = f'{{"spec": {{"replicas": {replicas}}}}}'
            plane.kubectl("patch", "llmd", "llama", "-n", namespace, "--type=merge", "-p", patch)
            if done.wait(0.5):
                return

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def writes_of(team: Operators, one: OperatorUnderTest) -> list[str]:
    return [when for user, when, _ in team.writes() if user == one.user]


def moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def kill(leader: OperatorUnderTest, _relay: Relay) -> None:
    leader.send(signal.SIGKILL)


def stop(leader: OperatorUnderTest, _relay: Relay) -> None:
    leader.send(signal.SIGSTOP)


def cut(_leader: OperatorUnderTest, relay: Relay) -> None:
    relay.cut()


ENDS: dict[str, tuple[Callable[[OperatorUnderTest, Relay], None], int]] = {
    "killed": (kill, -signal.SIGKILL),
    "stopped": (stop, Exit.LEASE_LOST),
    "cut-off": (cut, Exit.LEASE_LOST),
}
"""What happens to the leader, and how its process ends (a stopped one once it goes on)."""


@pytest.mark.parametrize("name", ENDS)
def test_the_next_leader_acts_and_the_one_before_never_again(
    name: str, control_plane: RunningPlane, tmp_path: Path
) -> None:
    happens, code = ENDS[name]
    relay = Relay(control_plane.config.server)
    try:
        with operators(control_plane, f"two-{name}", tmp_path) as team, busy(control_plane, f"two-{name}"):
            first = team.start("first", server=relay.url)
            wait_for(lambda: writes_of(team, first), "the first operator acts")
            second = team.start("second")
            wait_for(lambda: second.has_said("another process leads"), "the second stands by")
            happens(first, relay)
            wait_for(lambda: writes_of(team, second), "the second operator acts")
            if name == "stopped":
                first.send(signal.SIGCONT)
            assert first.process.wait(60) == code
            before = len(writes_of(team, second))
            wait_for(lambda: len(writes_of(team, second)) > before + 3, "the second goes on")
            assert team.actors() == [first.user, second.user], team.writes()[-20:]
    finally:
        relay.close()


def test_an_orderly_end_hands_over_at_once(control_plane: RunningPlane, tmp_path: Path) -> None:
    namespace = "two-orderly"
    with operators(control_plane, namespace, tmp_path) as team, busy(control_plane, namespace):
        first = team.start("first")
        wait_for(lambda: writes_of(team, first), "the first operator acts")
        second = team.start("second")
        wait_for(lambda: second.has_said("another process leads"), "the second stands by")
        first.send(signal.SIGTERM)
        assert first.process.wait(60) == Exit.OK
        released = [line for line in first.said() if line["event"] == "the lease is released"]
        assert released, first.said()
        wait_for(lambda: writes_of(team, second), "the second operator acts")
        assert team.actors() == [first.user, second.user]
        waited = moment(writes_of(team, second)[0]) - moment(released[0]["timestamp"])
        assert waited.total_seconds() < 10, "and not only when the lease would have ended"
        lease = control_plane.kubectl("get", "lease", "outrider-operator", "-n", namespace, "-o", "yaml").stdout
        spec = yaml.safe_load(lease)["spec"]
        assert spec["holderIdentity"].startswith("second_")
        assert spec["leaseTransitions"] == 1
