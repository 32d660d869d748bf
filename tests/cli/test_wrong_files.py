"""Files that cannot be manifests, and files that look odd and are good."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from outrider.cli.errors import Exit

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
_DEEP = "spec: is nested more than 100 levels deep: no field needs that"
BAD: dict[str, tuple[bytes, str]] = {
    "an empty file": (b"", "error: no objects found in FILE\n"),
    "nothing but comments": (b"# later\n---\n", "error: no objects found in FILE\n"),
    "a picture": (
        b"\x89PNG\r\n\x1a\n\x00\x00",
        "error: FILE: line 1: is not UTF-8 text: save it as UTF-8, or name the manifest itself\n",
    ),
    "Latin-1": (
        f"{MAP}data: {{city: Zürich}}\n".encode("latin-1"),
        "error: FILE: line 4: is not UTF-8 text: save it as UTF-8, or name the manifest itself\n",
    ),
    "UTF-16": (
        MAP.encode("utf-16"),
        "error: FILE: line 1: is not UTF-8 text: save it as UTF-8, or name the manifest itself\n",
    ),
    "a null byte": (
        f"{MAP}data: {{a: \0}}\n".encode(),
        "error: FILE: not valid YAML: line 4: control characters are not allowed: remove it\n",
    ),
    "brackets without end": (
        b"a: " + b"[" * 100_000,
        "error: FILE: not valid YAML: line 1, column 1003: is nested too deeply: no manifest needs that\n",
    ),
    "mappings without end": (
        b"\n".join(b" " * depth + b"a:" for depth in range(2_000)),
        "error: FILE: not valid YAML: line 1000, column 1001: is nested too deeply: no manifest needs that\n",
    ),
    "a spec of 500 levels": (
        b"apiVersion: inference.llm-d.io/v1alpha1\nkind: LLMDeployment\nmetadata: {name: a}\nspec: "
        + b"{a: " * 500
        + b"}" * 500,
        f"error: FILE: LLMDeployment 'a' has 1 error\n  {_DEEP}\n",
    ),
}


@pytest.mark.parametrize(("content", "says"), BAD.values(), ids=BAD.keys())
def test_a_file_that_holds_no_manifest_is_refused(content: bytes, says: str, outrider, tmp_path: Path) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_bytes(content)
    code, out, told = outrider("apply", "--filename", str(file))
    assert (code, out, told.replace(str(file), "FILE")) == (Exit.INVALID, "", says)


GOOD: dict[str, bytes] = {
    "a byte order mark": b"\xef\xbb\xbf" + MAP.encode(),
    "line ends of Windows": MAP.replace("\n", "\r\n").encode(),
    "no line end at the end": MAP.strip().encode(),
    "JSON": b'{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}',
    "JSON with tabs": b'{\n\t"apiVersion": "v1",\n\t"kind": "ConfigMap",\n\t"metadata": {"name": "a"}\n}\n',
    "empty documents around it": f"---\n---\n{MAP}---\n".encode(),
    "anchors that are used with measure": f"x: &x {{a: b}}\n{MAP}data: *x\n".encode(),
    "a list of one kind": (
        b"apiVersion: v1\nkind: ConfigMapList\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n"
    ),
    "texts that YAML might take for more": f"{MAP}data: {{day: 2026-02-31, 'no': 'no', big: 1e999}}\n".encode(),
}


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD.keys())
def test_a_file_that_looks_odd_and_is_good_is_taken(content: bytes, outrider, tmp_path: Path) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_bytes(content)
    code, out, told = outrider("apply", "--filename", str(file))
    assert (code, told, out.split()[0]) == (Exit.OK, "", "configmap/a")


def _missing(folder: Path) -> Path:
    return folder / "none.yaml"


def _forbidden(folder: Path) -> Path:
    file = folder / "secret.yaml"
    file.write_text(MAP)
    file.chmod(0)
    return file


def _empty_folder(folder: Path) -> Path:
    (folder / "deeper").mkdir()
    (folder / "deeper" / "a.yaml").write_text(MAP)
    (folder / "notes.txt").write_text(MAP)
    return folder


def _below_a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "a.yaml"


def _endless(_: Path) -> Path:
    return Path("/dev/zero")


_FOLDERS = "of a folder the files that end in .yaml, .yml, .json are read, and none of its folders"
PLACES: dict[str, tuple[Callable[[Path], Path], Exit, str]] = {
    "a file that does not exist": (_missing, Exit.NOT_FOUND, "error: PATH: no such file\n"),
    "a file that may not be read": (
        _forbidden,
        Exit.FAILED,
        "error: PATH: you may not read it: see its owner and mode with ls -l\n",
    ),
    "a folder without manifests": (
        _empty_folder,
        Exit.INVALID,
        f"error: no objects found in PATH\n  {_FOLDERS}\n",
    ),
    "a path below a file": (_below_a_file, Exit.FAILED, "error: PATH: cannot be read: Not a directory\n"),
    "a file without end": (
        _endless,
        Exit.INVALID,
        "error: PATH: is larger than 64 MiB: split it into several files\n",
    ),
}


@pytest.mark.parametrize(("make", "exit_code", "says"), PLACES.values(), ids=PLACES.keys())
def test_a_place_that_holds_no_manifest_is_named(make, exit_code, says, outrider, tmp_path) -> None:
    if make is _forbidden and os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "here").mkdir()
    path = make(tmp_path / "here")
    code, out, told = outrider("apply", "--filename", str(path))
    assert (code, out, told.replace(str(path), "PATH")) == (exit_code, "", says)


def test_nothing_is_applied_when_one_of_several_files_is_bad(outrider, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MAP)
    (tmp_path / "b.yaml").write_text("a: [1\n")
    (tmp_path / "c.yaml").write_text(MAP.replace("ConfigMap", "Frob"))
    code, out, told = outrider("apply", "--filename", str(tmp_path), "--filename", str(tmp_path / "none.yaml"))
    assert (code, out) == (Exit.INVALID, "")
    assert "of 4 manifests, 3 are refused" in told
    for said in ("b.yaml: not valid YAML: line 2", "c.yaml: Outrider does not handle Frob", "none.yaml: no such file"):
        assert said in told
    assert outrider("get", "configmap", "a")[0] == Exit.NOT_FOUND


@pytest.mark.parametrize("command", ["apply", "plan", "delete"])
def test_every_command_that_reads_manifests_tells_all_that_is_wrong(command: str, outrider, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("5\n")
    (tmp_path / "b.yaml").write_text("kind: Pod\n")
    code, out, told = outrider(command, "--filename", str(tmp_path))
    assert (code, out) == (Exit.INVALID, "")
    assert "a.yaml" in told
    assert "b.yaml" in told


def test_standard_input_that_is_closed_is_said(cluster: Path) -> None:
    script = f"exec {sys.executable} -m outrider apply --filename - <&-"
    environment = {**os.environ, "KUBECONFIG": str(cluster)}
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == "error: standard input is closed: name a file, or pipe a manifest in\n"
    assert done.returncode == Exit.USAGE
