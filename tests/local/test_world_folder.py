"""Where worlds are kept, who may look into it, and what a killed process leaves there."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from outrider.local.folder import WorldFolder, WorldInfo, WorldInUse, data_root

INFO = WorldInfo(
    name="local",
    pid=1,
    api_url="http://127.0.0.1:1",
    gateway_url="http://127.0.0.1:2",
    kubeconfig="",
    version="0",
    engine="simulator",
    nodes=1,
    gpus_per_node=0,
    started_at="",
)


def test_everything_is_for_its_user_only_from_the_data_folder_on(tmp_path: Path) -> None:
    root = tmp_path / "share of mine" / "outrider"
    folder = WorldFolder(root=root)
    with folder.locked():
        folder.token()
    found = [root.parent, root, *root.rglob("*")]
    assert len(found) > 5
    open_to_others = [path for path in found if path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_a_relative_data_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUTRIDER_HOME", "state")
    assert data_root() == tmp_path / "state"


def test_without_any_home_folder_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("OUTRIDER_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(FileNotFoundError, match="set OUTRIDER_HOME"):
        data_root()


def test_one_process_runs_a_world(tmp_path: Path) -> None:
    first, second = WorldFolder(root=tmp_path), WorldFolder(root=tmp_path)
    assert not second.running
    with first.locked():
        assert second.running
        with pytest.raises(WorldInUse, match="'local' is already running"), second.locked():
            pass
    assert not second.running


def test_who_only_looks_whether_a_world_runs_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    folder, over = WorldFolder(root=tmp_path), threading.Event()
    folder.create()

    def look() -> None:
        while not over.is_set():
            assert folder.running in (True, False)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(500):
            with folder.locked():
                assert folder.running
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_a_folder_that_is_deleted_while_others_start_has_one_owner_at_every_moment(tmp_path: Path) -> None:
    owners, most, begun = 0, 0, threading.Barrier(3)
    counting = threading.Lock()

    def start(*, remove: bool) -> None:
        nonlocal owners, most
        folder = WorldFolder(root=tmp_path)
        begun.wait()
        for _ in range(200):
            try:
                if remove:
                    folder.remove()
                    continue
                with folder.locked():
                    with counting:
                        owners += 1
                        most = max(most, owners)
                    with counting:
                        owners -= 1
            except WorldInUse:
                continue

    with ThreadPoolExecutor(3) as pool:
        for each in [pool.submit(start, remove=remove) for remove in (False, False, True)]:
            each.result()
    assert most == 1


def test_who_has_the_lock_takes_down_the_sign_of_a_killed_world_and_removes_what_it_had_half_written(
    tmp_path: Path,
) -> None:
    folder = WorldFolder(root=tmp_path)
    folder.create()
    folder.write_info(INFO)
    for name in (".world.json.a1b2", ".kubeconfig.c3", ".token.d4"):
        (folder.path / name).write_text("half")
    with folder.locked():
        assert folder.info() is None
        assert {path.name for path in folder.path.iterdir()} == {"lock", "pods"}


def test_a_refused_start_leaves_the_sign_of_the_running_world_alone(tmp_path: Path) -> None:
    first, second = WorldFolder(root=tmp_path), WorldFolder(root=tmp_path)
    with first.locked():
        first.write_info(INFO)
        with pytest.raises(WorldInUse, match=r"already running \(process 1\)"), second.locked():
            pass
        assert first.info() == INFO


def test_clearing_keeps_the_lock_the_open_log_and_the_output_of_the_start_that_is_under_way(tmp_path: Path) -> None:
    folder = WorldFolder(root=tmp_path)
    with folder.locked():
        folder.write_info(INFO)
        folder.log.write_text("said before")
        waiting = folder.path / ".up.out.x1"
        for path in (waiting, folder.output, folder.database, folder.pods / "node-1" / "a file"):
            path.parent.mkdir(exist_ok=True)
            path.write_text("kept")
        folder.clear()
        left = {str(path.relative_to(folder.path)) for path in folder.path.rglob("*")}
        assert left == {"lock", "outrider.log", ".up.out.x1", "pods"}
        assert folder.log.read_text() == ""


@pytest.mark.parametrize("length", [0, 1, 42])
def test_a_token_that_was_cut_off_is_made_anew(tmp_path: Path, length: int) -> None:
    folder = WorldFolder(root=tmp_path)
    whole = folder.token()
    assert folder.token() == whole
    (folder.path / "token").write_text(whole[:length])
    again = folder.token()
    assert len(again) == len(whole)
    assert again != whole
    assert folder.token() == again


def test_a_token_file_of_something_else_is_made_anew(tmp_path: Path) -> None:
    folder = WorldFolder(root=tmp_path)
    folder.create()
    (folder.path / "token").write_bytes(bytes(range(200, 243)))
    assert len(folder.token()) == 43
