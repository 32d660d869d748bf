"""Ending a world that cannot be asked to end, because it has no sign up: it is starting, or ending by itself."""

from pathlib import Path

import pytest

from outrider.cli.down import stop_world
from outrider.cli.errors import CliError, Exit
from outrider.local.folder import WorldFolder


def test_a_world_without_a_sign_is_waited_for_and_not_said_to_be_down(tmp_path: Path) -> None:
    folder = WorldFolder(root=tmp_path)
    with folder.locked(), pytest.raises(CliError) as caught:
        stop_world(folder, 0.1, quiet=True)
    assert caught.value.exit_code == Exit.TIMED_OUT
    assert "still running" in str(caught.value)


def test_a_world_that_does_not_run_needs_no_ending(tmp_path: Path) -> None:
    assert stop_world(WorldFolder(root=tmp_path), 0.1, quiet=True) is None
