"""Proxies mean to us what they mean to kubectl."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from http_server import answers, serving

from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig, KubeconfigError
from outrider.kube.objects import POD
from outrider.kube.proxies import proxy_for

PROXY = "http://proxy:3128"
CLUSTER = "https://10.96.0.1:443"
NAMED = "https://api.prod.example.com:6443"

CASES: dict[str, tuple[str, dict[str, str], str]] = {
    "no variables": (CLUSTER, {}, ""),
    "https through the proxy for https": (CLUSTER, {"HTTPS_PROXY": PROXY, "HTTP_PROXY": "http://other"}, PROXY),
    "small letters will do": (CLUSTER, {"https_proxy": PROXY}, PROXY),
    "http through the proxy for http": ("http://10.0.0.1", {"HTTP_PROXY": PROXY}, PROXY),
    "ALL_PROXY is not read": (CLUSTER, {"ALL_PROXY": PROXY}, ""),
    "a proxy without a scheme": (CLUSTER, {"HTTPS_PROXY": "proxy:3128"}, PROXY),
    "not to this machine": ("https://127.0.0.1:6443", {"HTTPS_PROXY": PROXY}, ""),
    "not to localhost": ("https://localhost:6443", {"HTTPS_PROXY": PROXY}, ""),
    "not to this machine over IPv6": ("https://[::1]:6443", {"HTTPS_PROXY": PROXY}, ""),
    "everything excluded": (CLUSTER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, ""),
    "the address excluded": (CLUSTER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "x.com, 10.96.0.1"}, ""),
    "its network excluded": (CLUSTER, {"HTTPS_PROXY": PROXY, "no_proxy": "10.96.0.0/12"}, ""),
    "another network excluded": (CLUSTER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/16,fd00::/8"}, PROXY),
    "its port excluded": (CLUSTER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.96.0.1:443"}, ""),
    "another port excluded": (CLUSTER, {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.96.0.1:6443"}, PROXY),
    "an IPv6 address with a port excluded": (
        "https://[fd00::1]:6443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "[fd00::1]:6443"}, "",
    ),
    "an IPv6 network excluded": ("https://[fd00::1]:6443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "fd00::/8"}, ""),
    "its domain excluded": (NAMED, {"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com"}, ""),
    "itself excluded by name, in capitals": (NAMED, {"HTTPS_PROXY": PROXY, "NO_PROXY": "API.PROD.example.com"}, ""),
    "what is below its domain": (NAMED, {"HTTPS_PROXY": PROXY, "NO_PROXY": ".prod.example.com"}, ""),
    "what is below its domain, with a star": (NAMED, {"HTTPS_PROXY": PROXY, "NO_PROXY": "*.example.com"}, ""),
    "what is below itself": (NAMED, {"HTTPS_PROXY": PROXY, "NO_PROXY": ".api.prod.example.com"}, PROXY),
    "a name that only ends alike": (NAMED, {"HTTPS_PROXY": PROXY, "NO_PROXY": "ample.com"}, PROXY),
    "entries that mean nothing": (NAMED, {"HTTPS_PROXY": PROXY, "NO_PROXY": ",, :443,10.0.0.0/99"}, PROXY),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_which_proxy(name: str) -> None:
    server, environ, expected = CASES[name]
    assert proxy_for(server, environ) == expected


@asynccontextmanager
async def a_proxy(seen: list[bytes]) -> AsyncIterator[int]:
    """Answers everything itself with an empty list, and notes what it was asked for."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).splitlines()[0])
        body = b'{"metadata": {"resourceVersion": "1"}, "items": []}'
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def test_the_proxy_of_a_kubeconfig_is_used_also_for_this_machine() -> None:
    seen: list[bytes] = []

    async def run() -> None:
        async with serving(answers({})) as server, a_proxy(seen) as port:
            config = ClusterConfig(server=server.url, proxy_url=f"http://127.0.0.1:{port}")
            async with HttpApi(config) as api:
                assert (await api.list(POD)).items == ()
            assert server.seen == []
        assert seen == [f"GET {server.url}/api/v1/pods?limit=500 HTTP/1.1".encode()]

    asyncio.run(run())


def test_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def run() -> None:
        async with a_proxy(seen) as port:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
            async with HttpApi(ClusterConfig(server="http://api.example.com:8080")) as api:
                await api.list(POD)

    asyncio.run(run())
    assert seen == [b"GET http://api.example.com:8080/api/v1/pods?limit=500 HTTP/1.1"]


def test_a_proxy_of_a_kind_that_does_not_exist() -> None:
    with pytest.raises(KubeconfigError, match="my kubeconfig: "):
        HttpApi(ClusterConfig(server="https://10.0.0.1", source="my kubeconfig", proxy_url="gopher://proxy:70"))
