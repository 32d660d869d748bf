"""Clusters that cannot be talked to, and folders that cannot be written: what a command says of them."""

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Authority
from http_server import answers, serving

from outrider.cli.errors import Exit
from outrider.cli.main import run

Told = tuple[int, str]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[[str], Told]:
    """Runs `get llmd` with a kubeconfig of this text; the exit code, and the message without this machine's paths."""
    monkeypatch.setenv("OUTRIDER_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))

    def told(text: str) -> Told:
        (tmp_path / "kubeconfig").write_text(text)
        code = run(["get", "llmd"])
        return code, capsys.readouterr().err.replace(str(tmp_path), "FOLDER")

    return told


def config(server: str, *, cluster: str = "", user: str = "token: x", current: str = "here") -> str:
    return f"""\
apiVersion: v1
kind: Config
current-context: {current}
clusters: [{{name: c, cluster: {{server: "{server}"{cluster}}}}}]
users: [{{name: u, user: {{{user}}}}}]
contexts: [{{name: here, context: {{cluster: c, user: u}}}}]
"""


BAD = {
    "no current context": (config("http://127.0.0.1:1", current='""'), "has no current-context: choose one of 'here'"),
    "a current context that is not there": (config("http://127.0.0.1:1", current="moon"), "has no context 'moon'"),
    "a server that is no URL": (config("localhost"), "must be an http or https URL, not 'localhost'"),
    "a kubeconfig that is no YAML": ("clusters: [", "is not YAML"),
    "a kubeconfig that is a list": ("- a\n", "is malformed"),
    "a client certificate that is not there": (
        config("https://127.0.0.1:1", user="client-certificate: none.crt, client-key: none.key"),
        "none.crt",
    ),
    "an authority that is none": (
        config("https://127.0.0.1:1", cluster=", certificate-authority-data: bm9uZQ=="),
        "certificate",
    ),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD.keys())
def test_a_kubeconfig_that_names_no_cluster_is_told_of(text: str, says: str, told) -> None:
    code, message = told(text)
    assert code == Exit.UNREACHABLE
    assert message.startswith("error: ")
    assert says in message
    assert "Traceback" not in message


def test_a_server_that_does_not_run_is_named_and_how_to_start_one(told) -> None:
    with socket.socket() as nobody:  # bound, and not listening: nobody else gets the port
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        code, message = told(config(f"http://127.0.0.1:{port}"))
    assert code == Exit.UNREACHABLE
    assert f"cannot reach the API server http://127.0.0.1:{port} (from FOLDER/kubeconfig)" in message
    assert "is it running? `outrider up` starts a local world" in message


def test_a_context_without_any_kubeconfig_is_not_taken_for_a_world_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert run(["get", "pods", "--context", "moon"]) == Exit.UNREACHABLE
    said = capsys.readouterr().err
    assert said.startswith("error: there is no context moon: there is no kubeconfig")
    assert "local world is running" not in said


def _asked(told: Callable[[str], Told], tls: ssl.SSLContext, trusted: Authority) -> Told:
    async def asked() -> Told:
        async with serving(answers({}), tls=tls) as server:
            trust = f", certificate-authority: {trusted.certificate}"
            return await asyncio.to_thread(told, config(server.url.replace("http:", "https:"), cluster=trust))

    return asyncio.run(asked())


def test_a_server_whose_certificate_has_expired_is_told_of(told, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    code, message = _asked(told, authority.server_tls(expired=True), authority)
    assert code == Exit.UNREACHABLE
    assert "certificate has expired" in message
    assert "renew the server's certificate, and see that this machine's clock is right" in message


def test_a_server_of_an_unknown_authority_is_told_of(told, tmp_path: Path) -> None:
    code, message = _asked(told, Authority(tmp_path / "ca").server_tls(), Authority(tmp_path / "other"))
    assert code == Exit.UNREACHABLE
    assert "check certificate-authority and tls-server-name of the cluster" in message


@pytest.mark.parametrize("command", [["up", "--detach"], ["status"], ["down"]], ids=lambda words: words[0])
def test_a_data_folder_that_cannot_be_written_is_named(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "OUTRIDER_HOME": str(tmp_path / "file" / "data"), "HOME": str(tmp_path)}
    environment.pop("KUBECONFIG", None)
    done = subprocess.run(
        [sys.executable, "-m", "outrider", *command], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode != Exit.OK or command == ["down"]
    assert "Traceback" not in done.stderr
    assert "a mistake in Outrider" not in done.stderr
    assert done.stderr.startswith("error: ") or command == ["down"]
