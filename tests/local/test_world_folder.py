"""Where worlds are kept, and who may look into it."""

from pathlib import Path

import pytest

from outrider.local.folder import WorldFolder, WorldInUse, data_root


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
