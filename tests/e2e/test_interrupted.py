"""Whoever gives up the demo, at whatever moment and however, is left with no process and no stack trace."""

import signal
import subprocess
import sys

import pytest
from story_world import LocalWorld

pytestmark = [pytest.mark.e2e, pytest.mark.only("local", reason="the demo starts a world of its own, on the store")]

MOMENTS = {
    "Ctrl-C while the world starts": ("starting a local world", signal.SIGINT),
    "Ctrl-C while a command runs": ("outrider apply", signal.SIGINT),
    "terminated under traffic": ("2. Users come", signal.SIGTERM),
    "the terminal closed": ("outrider apply", signal.SIGHUP),
}


@pytest.mark.parametrize(("line", "number"), MOMENTS.values(), ids=MOMENTS.keys())
def test_the_demo_given_up(world: LocalWorld, line: str, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "outrider", "demo"],
        env={**world.env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        for printed in demo.stdout:
            if line in printed:
                break
        demo.send_signal(number)
        demo.stdout.read()
        told = demo.stderr.read()
        assert demo.wait(60) == 130
    assert told == "\nending the local world ...\ninterrupted\n"
    assert world.processes() == []


def test_a_world_whose_output_nobody_reads_any_more_ends_when_it_is_told_to(world: LocalWorld) -> None:
    command = [sys.executable, "-m", "outrider", "up", "--gateway-port", "0", "--api-port", "0"]
    with subprocess.Popen(command, env=world.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        assert up.stderr is not None
        up.stdout.readline()  # it is up
        up.stdout.close()
        up.stderr.close()
        up.terminate()
        try:
            assert up.wait(60) is not None
        finally:
            up.kill()
    assert world.processes() == []
