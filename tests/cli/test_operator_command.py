"""The flags of `outrider operator`: what they mean, and what is refused before anything is begun."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from story_world import wait_for

from outrider.cli.errors import Exit
from outrider.cli.main import build_app, run
from outrider.kube.kubeconfig import write_kubeconfig
from outrider.plan.install.settings import Installation
from outrider.plan.install.workload import arguments

INSTALLATIONS = (
    Installation(),
    Installation(
        watch_namespaces=("team-a", "team-b"), gateway="infra/public", gateway_metrics=("http://a:1/m", "http://b:1/m")
    ),
    Installation(watch_namespaces=("team-a",), cluster_roles=False),
)

WRONG = {
    "an address without a port": (["--health-address", "localhost"], "--health-address localhost: must be an address"),
    "metrics for everybody on all addresses": (["--metrics-insecure"], "--metrics-address 127.0.0.1:8080"),
    "half of a certificate": (["--metrics-key", "x"], "given together"),
    "a gateway of three parts": (["--gateway", "a/b/c"], "must be NAMESPACE/NAME"),
    "pools of no gateway": (["--inference-pool"], "name it with --gateway"),
    "what no gateway counts": (["--gateway-metrics", "http://traefik:9100/metrics"], "name it with --gateway"),
    "a page that has no address": (
        ["--gateway", "infra/public", "--gateway-metrics", "traefik:9100/metrics"], "must be http://HOST:PORT/PATH",
    ),
    "a way to no gateway": (["--gateway-inside-url", "http://traefik:8000"], "name it with --gateway"),
    "a way that is no address": (
        ["--gateway", "infra/public", "--gateway-inside-url", "http://a b"], "http://a b: must be http://HOST:PORT",
    ),
    "a label that is none": (["--monitor-labels", "release"], "must be KEY=VALUE"),
    "an address of no gateway": (["--base-url", "https://x"], "name it with --gateway"),
    "a probe interval without a unit": (["--probe-interval", "10"], "--probe-interval 10: has no unit"),
    "probes without pause": (["--probe-interval", "10ms"], "at least 1s"),
    "no workers": (["--concurrency", "0"], "at least 1"),
    "a negative drain": (["--drain-seconds=-1"], "0 or more"),
    "a deadline as long as the lease": (
        ["--leader-elect-renew-deadline", "15s"], "must be longer than the renew deadline",
    ),
}  # fmt: skip


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig of a server that refuses every connection."""
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, server="http://127.0.0.1:9", token="t")
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.mark.parametrize("name", WRONG)
def test_wrong_flags(name: str, nowhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = WRONG[name]
    assert run(["operator", *arguments]) == Exit.USAGE
    said = capsys.readouterr().err
    assert message in said


def test_a_flag_may_be_an_environment_variable(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OUTRIDER_GATEWAY", "a/b/c")
    assert run(["operator"]) == Exit.USAGE
    assert "--gateway a/b/c" in capsys.readouterr().err


def test_no_kubeconfig_and_no_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert run(["operator"]) == Exit.UNREACHABLE
    assert "there is no kubeconfig" in capsys.readouterr().err


@pytest.mark.parametrize("case", INSTALLATIONS, ids=lambda one: " ".join(arguments(one)))
def test_the_command_line_of_every_installation_is_understood(case: Installation) -> None:
    _, bound, unused = build_app().parse_args(arguments(case), print_error=False, exit_on_error=False)[:3]
    assert not unused
    assert bound.arguments["leader_elect"] is True
    assert bound.arguments["health_address"] == ":8081"
    assert tuple(bound.arguments.get("namespaces") or ()) == (
        (",".join(case.watch_namespaces),) if case.watch_namespaces else ()
    )
    assert bound.arguments.get("gateway", "") == case.gateway


@contextmanager
def waiting_operator(kubeconfig: Path, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """An operator whose API server is not there; it waits for it."""
    argv = [sys.executable, "-m", "outrider", "operator", "--kubeconfig", str(kubeconfig), "--log-format", "json"]
    argv += ["--health-address", "127.0.0.1:0", "--metrics-address", "0"]
    with log.open("wb") as file, subprocess.Popen(argv, stdout=file, stderr=file) as process:
        try:
            wait_for(lambda: "waiting for the API server" in log.read_text(), "it waits for the API server")
            yield process
        finally:
            process.kill()


def test_while_it_waits_for_its_api_server_it_is_alive_not_ready_and_ends_when_asked_to(
    nowhere: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with waiting_operator(nowhere, log) as process:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        (address,) = [line["address"] for line in lines if line.get("what") == "probes"]
        assert urllib.request.urlopen(f"http://{address}/healthz", timeout=30).status == 200
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"http://{address}/readyz", timeout=30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == Exit.OK


def test_a_second_signal_ends_it_at_once(nowhere: Path, tmp_path: Path) -> None:
    with waiting_operator(nowhere, tmp_path / "log") as process:
        process.send_signal(signal.SIGSTOP)  # so that it finds both when it goes on
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        assert process.wait(30) == Exit.INTERRUPTED
