"""Naming, starting and giving up local worlds."""

import signal
from pathlib import Path

import pytest

from outrider.cli.errors import CliError, Exit
from outrider.cli.main import run
from outrider.cli.worlds import interrupted_by_termination, start_detached, world_folder
from outrider.local.folder import WorldFolder


@pytest.mark.parametrize("name", ["", "..", "../../elsewhere", "a/b", "a b"])
def test_a_name_that_could_lead_out_of_the_data_folder_is_refused(name) -> None:
    with pytest.raises(CliError, match="letters, digits") as refusal:
        world_folder(name)
    assert refusal.value.exit_code == Exit.USAGE


def test_down_forgets_nothing_outside_of_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTRIDER_HOME", str(tmp_path / "data"))
    (tmp_path / "precious").mkdir()
    assert run(["down", "--forget", "--world", "../../precious"]) == Exit.USAGE
    assert (tmp_path / "precious").is_dir()


@pytest.mark.parametrize("interrupts", [signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "background job"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_ended_is_as_ctrl_c(number, interrupts) -> None:
    before = {each: signal.getsignal(each) for each in (number, signal.SIGINT)}
    signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, interrupts)
    try:
        with pytest.raises(KeyboardInterrupt), interrupted_by_termination():
            signal.raise_signal(number)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_under_nohup_the_loss_of_the_terminal_goes_on_meaning_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupted_by_termination():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_world_that_does_not_come_up_says_why_with_its_exit_code(tmp_path: Path) -> None:
    folder = WorldFolder(root=tmp_path)
    with pytest.raises(CliError, match=r"^the local world did not come up: --nodes 0: choose 1 to 64$") as refusal:
        start_detached(folder, ["--nodes", "0"], quiet=True)
    assert refusal.value.exit_code == Exit.USAGE
