"""Service account tokens for pods that are processes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from manual_clock import ManualClock

from outrider.api.meta import format_time
from outrider.kube.api import Forbidden
from outrider.kube.objects import ConfigMap
from outrider.local.kubelet.identity import ServiceAccounts, token_request

from .conftest import until

PROJECTED = {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]}
POD = {
    "metadata": {"name": "web", "namespace": "production", "uid": "u-1"},
    "spec": {"serviceAccountName": "reader", "volumes": [{"name": "kube-api-access-x", "projected": PROJECTED}]},
}


class Issuer:
    """An API server that issues tokens, once it knows the pod."""

    def __init__(self, clock: ManualClock, refusals: int) -> None:
        self.clock = clock
        self.refusals = refusals
        self.requests: list[tuple[str, dict[str, Any]]] = []

    async def create(self, kind: Any, body: dict[str, Any]) -> dict[str, Any]:
        if self.refusals:
            self.refusals -= 1
            raise Forbidden("no relationship found between node and this object")
        self.requests.append((kind.path(body["metadata"]["namespace"]), body))
        ends = format_time(self.clock.now() + 3600)
        return {"status": {"token": f"token-{len(self.requests)}", "expirationTimestamp": ends}}

    async def get(self, _: Any, name: str, namespace: str) -> Any:
        if (name, namespace) == ("kube-root-ca.crt", "production"):
            return ConfigMap(data={"ca.crt": "PEM"})
        assert (name, namespace) == ("kubernetes", "default")
        return {"spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 443}]}}


def test_a_token_is_asked_for_until_it_is_given_and_renewed_before_it_ends(tmp_path: Path) -> None:
    async def run() -> None:
        clock = ManualClock()
        issuer: Any = Issuer(clock, refusals=2)
        first, folder = asyncio.Event(), tmp_path / ".kube"
        task = asyncio.create_task(ServiceAccounts(issuer, clock).keep(POD, tmp_path, first))
        try:
            for _ in range(2):
                await until(lambda: clock._sleepers, "it waits after a refusal")
                await clock.advance(0.3)
            await until(first.is_set, "the token is there")
            assert (folder / "token").read_text() == "token-1"
            assert (folder / "ca.crt").read_text() == "PEM"
            config = json.loads((folder / "config").read_text())
            assert config["clusters"][0]["cluster"] == {
                "server": "https://10.96.0.1:443",
                "certificate-authority": "ca.crt",
            }
            assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
            path, body = issuer.requests[0]
            assert path == "/api/v1/namespaces/production/serviceaccounts/reader/token"
            assert body["spec"]["boundObjectRef"]["uid"] == "u-1"
            assert body["spec"]["expirationSeconds"] == 3607
            await until(lambda: clock._sleepers, "it waits for the renewal")
            await clock.advance(2881)
            await until(lambda: (folder / "token").read_text() == "token-2", "the token was renewed")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


VOLUMES: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "no volume": ([], False),
    "a token": ([{"name": "x", "projected": PROJECTED}], True),
    "a projected volume without one": ([{"name": "x", "projected": {"sources": [{"configMap": {}}]}}], False),
    "another kind of volume": ([{"name": "x", "emptyDir": {}}], False),
}


@pytest.mark.parametrize("case", VOLUMES)
def test_only_pods_that_ask_for_a_token_get_one(case: str) -> None:
    volumes, wanted = VOLUMES[case]
    assert (token_request({"spec": {"volumes": volumes}}) is not None) == wanted
