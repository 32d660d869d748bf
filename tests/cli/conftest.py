"""A cluster that commands can talk to: the store in memory behind its REST door, without controllers and pods."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from outrider.cli.main import run
from outrider.kube.clock import SystemClock
from outrider.kube.kubeconfig import write_kubeconfig
from outrider.kube.objects import NAMESPACE
from outrider.local.rest import make_app
from outrider.local.store import Store, StoreApi

TOKEN = "correct-horse"


class _Loop:
    """An event loop in a thread of its own, since commands run loops of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The path of the kubeconfig that `KUBECONFIG` names; there are the namespaces default, production and staging."""
    loop = _Loop()
    store = Store.opened(SystemClock())
    opened = loop.run(store.__aenter__())
    for name in ("production", "staging"):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        loop.run(StoreApi(opened).create(NAMESPACE, body))
    runner = web.AppRunner(make_app(opened, token=TOKEN), shutdown_timeout=1)
    loop.run(runner.setup())
    loop.run(web.TCPSite(runner, "127.0.0.1", 0).start())
    host, port = runner.addresses[0][:2]
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, server=f"http://{host}:{port}", token=TOKEN)
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("OUTRIDER_HOME", str(tmp_path / "data"))
    try:
        yield path
    finally:
        loop.run(runner.cleanup())
        loop.run(store.__aexit__(None, None, None))
        loop.close()


Outcome = tuple[int, str, str]


@pytest.fixture
def outrider(cluster: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command against the cluster; returns its exit code and what it printed on both streams."""

    def outrider(*arguments: str) -> Outcome:
        code = run(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return outrider
