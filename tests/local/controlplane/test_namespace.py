"""The world's namespaces: made, left alone, and entered again by another process; as root and as an ordinary user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import outrider
from outrider.local.controlplane.namespace import Anchor

ENTER = """
import sys
from pathlib import Path
from outrider.local.controlplane.namespace import Anchor, NamespaceUnavailable, enter, show_files

folder, shown = Path(sys.argv[1]), Path(sys.argv[2])
try:
    found = enter(Anchor(folder), ["10.244.0.0/16"])
except NamespaceUnavailable as error:
    print("unavailable:", error)
    sys.exit(3)
if not found:
    show_files({shown: folder / "inside", Path("/no/such/file"): folder / "inside"})
print(found, shown.read_text(), Path.cwd())
"""
NOBODY = 65534


def enter(folder: Path, shown: Path, user: int | None) -> str:
    source = Path(outrider.__file__).parents[1]
    try:
        done = run(source, folder, shown, user)
    except PermissionError as error:
        pytest.skip(f"this interpreter is not another user's: {error}")
    if done.returncode == 3:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run(source: Path, folder: Path, shown: Path, user: int | None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", ENTER, str(folder), str(shown)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
        user=user,
        group=user,
        extra_groups=() if user is not None else None,
        timeout=60,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux'")
@pytest.mark.parametrize("user", [None, NOBODY], ids=["this user", "nobody"])
def test_files_of_the_world_are_seen_by_whoever_enters_it_again_and_by_nobody_else(tmp_path_factory, user) -> None:
    if user is not None and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = tmp_path_factory.mktemp("world")
    for each in (*folder.parents, folder):
        if user is not None and each.owner() == "root" and each.is_relative_to("/tmp/pytest-of-root"):
            each.chmod(0o755)
    shown, inside = folder / "shown", folder / "inside"
    shown.write_text("the host's")
    inside.write_text("the world's")
    if user is not None:
        os.chown(folder, user, user)
    try:
        assert enter(folder, shown, user) == f"False the world's {folder}"
        assert enter(folder, shown, user) == f"True the world's {folder}"
        assert shown.read_text() == "the host's"
    finally:
        Anchor(folder).end()
