"""Credentials and certificates that are replaced while the process runs, and what goes before what."""

import asyncio
import base64
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from certificates import Authority
from http_server import serving

from outrider.kube.api import ApiError, Unauthorized
from outrider.kube.clock import SystemClock
from outrider.kube.exec_plugin import ExecCredentials
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig, ExecPlugin, KubeconfigError, load_kubeconfig
from outrider.kube.objects import POD


class Stepping:
    """A clock that a test moves by hand; sleeping costs nothing."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


async def welcome(_request: web.Request) -> web.Response:
    return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def people(request: web.Request) -> str:
    assert request.transport is not None
    subject = request.transport.get_extra_info("peercert")["subject"]
    return str(dict(pair[0] for pair in subject)["commonName"])


def test_a_token_file_is_read_again_every_minute_before_the_server_has_to_refuse(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    clock = Stepping()

    async def run() -> list[str | None]:
        async with serving(welcome) as server, HttpApi(ClusterConfig(server.url, token_file=file), clock=clock) as api:
            await api.list(POD)
            file.write_text("new\n")
            await api.list(POD)
            clock.time += 61
            await api.list(POD)
            file.unlink()  # in the middle of its replacement
            clock.time += 61
            await api.list(POD)
        return [seen.headers.get("Authorization") for seen in server.seen]

    assert asyncio.run(run()) == ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]


def test_a_refused_token_is_not_sent_twice(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t")

    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"kind": "Status", "code": 401}, status=401)

    async def run() -> int:
        async with serving(refuse) as server, HttpApi(ClusterConfig(server.url, token_file=file)) as api:
            with pytest.raises(Unauthorized, match="refused the credentials"):
                await api.list(POD)
        return len(server.seen)

    assert asyncio.run(run()) == 1


WHO_GOES_FIRST: dict[str, tuple[dict[str, Any], str]] = {
    "a token before a plugin": ({"token": "t", "exec": ExecPlugin("no-such-program")}, "Bearer t"),
    "a token before a password": ({"token": "t", "username": "ann", "password": "p"}, "Bearer t"),
    "a name without a password": ({"username": "ann"}, "Basic " + base64.b64encode(b"ann:").decode()),
}


@pytest.mark.parametrize("name", WHO_GOES_FIRST)
def test_of_several_credentials(name: str) -> None:
    options, expected = WHO_GOES_FIRST[name]

    async def run() -> str | None:
        async with serving(welcome) as server, HttpApi(ClusterConfig(server.url, **options)) as api:
            await api.list(POD)
        return server.seen[0].headers.get("Authorization")

    assert asyncio.run(run()) == expected


def test_acting_in_somebody_elses_name(tmp_path: Path) -> None:
    names: list[tuple[str, str]] = []

    async def note(request: web.Request) -> web.Response:
        names.extend((key, value) for key, value in request.headers.items() if key.startswith("Impersonate"))
        return await welcome(request)

    async def run() -> None:
        async with serving(note) as server:
            user = {"token": "t", "as": "bob", "as-groups": ["dev", "ops"], "as-user-extra": {"team/x": ["a"]}}
            document = {
                "current-context": "a",
                "clusters": [{"name": "a", "cluster": {"server": server.url}}],
                "users": [{"name": "a", "user": user}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            }
            path = tmp_path / "kubeconfig"
            path.write_text(json.dumps(document))
            async with HttpApi(load_kubeconfig([path])) as api:
                await api.list(POD)

    asyncio.run(run())
    assert names == [
        ("Impersonate-User", "bob"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Group", "ops"),
        ("Impersonate-Extra-team%2Fx", "a"),
    ]


# Certificates


def test_inline_data_goes_before_files_as_for_kubectl(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")

    async def run() -> None:
        async with serving(welcome, tls=authority.server_tls()) as server:
            data = base64.b64encode(authority.certificate.read_bytes()).decode()
            config = ClusterConfig(
                server.url, certificate_authority=stranger.certificate, certificate_authority_data=data
            )
            async with HttpApi(config) as api:
                await api.list(POD)

    asyncio.run(run())


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "an authority and no checks": ({"insecure_skip_tls_verify": True}, "contradict each other"),
    "a certificate without its key": ({"client_certificate_data": base64.b64encode(b"x").decode()}, "needs its key"),
    "a key without its certificate": ({"client_key_data": base64.b64encode(b"x").decode()}, "needs its key"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_settings_that_contradict_each_other(name: str, authority: Authority) -> None:
    options, message = CONTRADICTIONS[name]
    with pytest.raises(KubeconfigError, match=message):
        HttpApi(ClusterConfig("https://127.0.0.1:1", certificate_authority=authority.certificate, **options))


def test_replaced_client_certificates_and_authorities_are_shown_and_trusted(
    authority: Authority, tmp_path: Path
) -> None:
    seen: list[str] = []
    clock = Stepping()
    other = Authority(tmp_path / "other")

    async def who(request: web.Request) -> web.StreamResponse:
        seen.append(people(request))
        return await welcome(request)

    def put(issuer: Authority, name: str) -> ClusterConfig:
        certificate, key = issuer.issue(name)
        for source, target in ((certificate, "me.crt"), (key, "me.key"), (issuer.certificate, "ca.crt")):
            (tmp_path / "new").write_bytes(source.read_bytes())
            (tmp_path / "new").replace(tmp_path / target)
        return ClusterConfig(
            "", certificate_authority=tmp_path / "ca.crt", client_certificate=tmp_path / "me.crt",
            client_key=tmp_path / "me.key",
        )  # fmt: skip

    async def run() -> None:
        config = put(authority, "ann")
        async with serving(who, tls=authority.server_tls(clients=authority)) as server:
            port = server.port
            api = HttpApi(replace(config, server=server.url), clock=clock)
            await api.list(POD)
            put(authority, "bea")
            await api.list(POD)
            clock.time += 61
            await api.list(POD)
        put(other, "cid")
        clock.time += 61
        async with serving(who, tls=other.server_tls(clients=other), port=port):
            await api.list(POD)
            await api.close()

    asyncio.run(run())
    assert seen == ["ann", "ann", "bea", "cid"]


def test_half_replaced_certificates_change_nothing(authority: Authority, tmp_path: Path) -> None:
    seen: list[str] = []
    clock = Stepping()
    certificate, key = authority.issue("ann")
    other_certificate, other_key = authority.issue("bea")

    async def who(request: web.Request) -> web.StreamResponse:
        seen.append(people(request))
        return await welcome(request)

    async def run() -> None:
        async with serving(who, tls=authority.server_tls(clients=authority)) as server:
            config = ClusterConfig(
                server.url, certificate_authority=authority.certificate, client_certificate=certificate, client_key=key
            )
            async with HttpApi(config, clock=clock) as api:
                await api.list(POD)
                certificate.write_bytes(other_certificate.read_bytes())
                clock.time += 61
                await api.list(POD)
                key.write_bytes(other_key.read_bytes())
                clock.time += 61
                await api.list(POD)

    asyncio.run(run())
    assert seen == ["ann", "ann", "bea"]


def test_a_plugins_next_certificate_is_shown_on_new_connections(authority: Authority, tmp_path: Path) -> None:
    """The server refuses ann's certificate the second time, as it does once a short-lived one has expired."""
    seen: list[str] = []
    answers = tmp_path / "answers"
    answers.mkdir()
    for number, name in enumerate(("ann", "bea")):
        certificate, key = authority.issue(name)
        status = {"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}
        (answers / str(number)).write_text(json.dumps({"kind": "ExecCredential", "status": status}))
    script = (
        "import pathlib, sys\n"
        "first = sorted(pathlib.Path(sys.argv[1]).iterdir())[0]\n"
        "print(first.read_text())\n"
        "first.unlink()\n"
    )
    plugin = ExecPlugin(command=sys.executable, args=("-c", script, str(answers)))

    async def who(request: web.Request) -> web.StreamResponse:
        seen.append(people(request))
        if seen == ["ann", "ann"]:
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        return await welcome(request)

    async def run() -> None:
        async with serving(who, tls=authority.server_tls(clients=authority)) as server:
            config = ClusterConfig(server.url, certificate_authority=authority.certificate, exec=plugin)
            async with HttpApi(config) as api:
                for _ in range(3):
                    await api.list(POD)

    asyncio.run(run())
    assert seen == ["ann", "ann", "bea", "bea"]


# Plugins


def plugin(script: str, **options: Any) -> ExecPlugin:
    return ExecPlugin(command=sys.executable, args=("-c", script), **options)


def asked(given: ExecPlugin, *, terminal: bool = False, **options: Any) -> str:
    config = ClusterConfig("https://c", source="mine", **options)
    credentials = ExecCredentials(config, given, SystemClock(), terminal=terminal)
    return asyncio.run(credentials.get()).authorization


def test_a_plugin_learns_of_its_cluster_what_client_go_tells(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text("PEM")
    script = (
        "import json, os\n"
        "cluster = json.loads(os.environ['KUBERNETES_EXEC_INFO'])['spec']['cluster']\n"
        "print(json.dumps({'status': {'token': json.dumps(cluster, sort_keys=True)}}))\n"
    )
    told = asked(
        plugin(script, provide_cluster_info=True), certificate_authority=authority, exec_config={"audience": "x"}
    )
    assert json.loads(told.removeprefix("Bearer ")) == {
        "server": "https://c",
        "certificate-authority-data": base64.b64encode(b"PEM").decode(),
        "config": {"audience": "x"},
    }


PLUGINS: dict[str, tuple[ExecPlugin, str]] = {
    "of a version that went": (plugin("", api_version="client.authentication.k8s.io/v1alpha1"), "speaks .*v1alpha1"),
    "that must ask a person": (plugin("", interactive_mode="Always"), "there is no terminal"),
    "that answers in another version": (
        plugin("print('{\"apiVersion\": \"client.authentication.k8s.io/v1beta1\", \"status\": {\"token\": \"t\"}}')"),
        "was asked for .*v1 and answered .*v1beta1",
    ),
    "that gives half of a certificate": (
        plugin("print('{\"status\": {\"token\": \"t\", \"clientCertificateData\": \"c\"}}')"), "only one of",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin(name: str) -> None:
    given, message = PLUGINS[name]
    with pytest.raises(Unauthorized, match=message):
        asked(given)


# Guards


class Stop(ApiError):
    pass


def test_a_guard_stops_writes_at_the_last_moment_and_never_reads() -> None:
    answered: list[str] = []
    looks = 0

    def guard() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:  # the first look is before there is a connection, the second just before the first byte
            raise Stop("no longer")

    async def note(request: web.Request) -> web.Response:
        answered.append(request.method)
        return web.json_response({"metadata": {"name": "a"}})

    async def run() -> None:
        async with serving(note) as server, HttpApi(ClusterConfig(server.url)) as api:
            guarded = api.guarded(guard)
            await guarded.get(POD, "a", "ns")
            with pytest.raises(Stop):
                await guarded.delete(POD, "a", "ns")
            await guarded.delete(POD, "a", "ns")
            await api.delete(POD, "a", "ns")

    asyncio.run(run())
    assert answered == ["GET", "DELETE", "DELETE"]
    assert looks == 4


def test_a_guard_looks_again_before_a_request_is_repeated() -> None:
    allowed = iter((True, True, False))

    def guard() -> None:
        if not next(allowed):
            raise Stop("no longer")

    async def busy(_request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "1"})

    async def run() -> int:
        async with serving(busy) as server, HttpApi(ClusterConfig(server.url), clock=Stepping()) as api:
            with pytest.raises(Stop):
                await api.guarded(guard).delete(POD, "a", "ns")
        return len(server.seen)

    assert asyncio.run(run()) == 1
