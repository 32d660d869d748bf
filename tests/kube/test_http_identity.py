"""Who we are to a server, and how we know that it is the server: tokens, plugins, certificates, proxies."""

import asyncio
import base64
import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from http_server import Server, serving

from outrider.kube.api import Unauthorized, Unavailable
from outrider.kube.http import HttpApi
from outrider.kube.kubeconfig import ClusterConfig, EnvironmentVariable, ExecPlugin, KubeconfigError
from outrider.kube.objects import POD


async def welcome(_request: web.Request) -> web.Response:
    return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})


def ask(
    config: Callable[[str], ClusterConfig],
    *,
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = welcome,
    tls: ssl.SSLContext | None = None,
    times: int = 1,
) -> list[str | None]:
    """List pods so many times, and give the Authorization headers that arrived."""

    async def run() -> Server:
        async with serving(answer, tls=tls) as server, HttpApi(config(server.url)) as api:
            for _ in range(times):
                await api.list(POD)
        return server

    return [seen.headers.get("Authorization") for seen in asyncio.run(run()).seen]


def test_anonymous() -> None:
    assert ask(lambda url: ClusterConfig(server=url)) == [None]


def test_a_token() -> None:
    assert ask(lambda url: ClusterConfig(server=url, token="t")) == ["Bearer t"]


def test_a_name_and_password() -> None:
    expected = "Basic " + base64.b64encode(b"ann:pw").decode()
    assert ask(lambda url: ClusterConfig(server=url, username="ann", password="pw")) == [expected]


def test_a_token_file_that_is_rotated(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")

    async def rotate(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer old":
            file.write_text("new\n")
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        return await welcome(request)

    asked = ask(lambda url: ClusterConfig(server=url, token_file=file), answer=rotate, times=2)
    assert asked == ["Bearer old", "Bearer new", "Bearer new"]


def test_a_token_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Unauthorized, match=r"the pod: cannot read the token file .*nowhere: No such file"):
        ask(lambda url: ClusterConfig(server=url, token_file=tmp_path / "nowhere", source="the pod"))


def test_no_proxy_of_the_environment_comes_between_this_machine_and_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(lambda url: ClusterConfig(server=url)) == [None]


# Credential plugins


def plugin(folder: Path, script: str, **options: Any) -> ExecPlugin:
    """A plugin written in Python, which counts its runs in a file."""
    counting = (
        "import json, os, sys, pathlib\n"
        f"counter = pathlib.Path({str(folder / 'runs')!r})\n"
        "runs = int(counter.read_text()) + 1 if counter.exists() else 1\n"
        "counter.write_text(str(runs))\n"
    )
    file = folder / "plugin.py"
    file.write_text(counting + script)
    return ExecPlugin(command=sys.executable, args=(str(file), "login"), **options)


def runs(folder: Path) -> int:
    return int((folder / "runs").read_text())


GIVES = "print(json.dumps({'kind': 'ExecCredential', 'status': {'token': f'token-{runs}', **more}}))\n"


def test_a_plugin_is_run_once_for_many_requests_and_told_what_it_asked_to_know(tmp_path: Path) -> None:
    script = (
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "assert info['apiVersion'] == 'client.authentication.k8s.io/v1beta1'\n"
        "assert info['spec']['interactive'] is False\n"
        "assert info['spec']['cluster']['server'].startswith('http://127.')\n"
        "assert (sys.argv[1], os.environ['REGION']) == ('login', 'eu')\n"
        "more = {}\n" + GIVES
    )
    given = plugin(
        tmp_path,
        script,
        api_version="client.authentication.k8s.io/v1beta1",
        env=(EnvironmentVariable("REGION", "eu"),),
        provide_cluster_info=True,
    )
    assert ask(lambda url: ClusterConfig(server=url, exec=given), times=3) == ["Bearer token-1"] * 3
    assert runs(tmp_path) == 1


def test_a_plugin_is_run_again_when_its_token_is_refused(tmp_path: Path) -> None:
    async def refuse_the_first(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer token-1":
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        return await welcome(request)

    given = plugin(tmp_path, "more = {}\n" + GIVES)
    asked = ask(lambda url: ClusterConfig(server=url, exec=given), answer=refuse_the_first, times=2)
    assert asked == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


def test_a_plugin_is_run_again_when_its_token_has_expired(tmp_path: Path) -> None:
    given = plugin(tmp_path, "more = {'expirationTimestamp': '2020-01-01T00:00:00Z'}\n" + GIVES)
    asked = ask(lambda url: ClusterConfig(server=url, exec=given), times=2)
    assert asked == ["Bearer token-1", "Bearer token-2"]


BAD_PLUGINS = {
    "fails": ("sys.exit('please log in first')", "ended with status 1: please log in first"),
    "prints no JSON": ("print('hello')", "printed no ExecCredential"),
    "prints nothing of use": ("print('{}')", "printed neither a token nor a client certificate"),
}


@pytest.mark.parametrize("name", BAD_PLUGINS)
def test_a_plugin_that(name: str, tmp_path: Path) -> None:
    script, message = BAD_PLUGINS[name]
    given = plugin(tmp_path, script)
    with pytest.raises(Unauthorized) as caught:
        ask(lambda url: ClusterConfig(server=url, exec=given, source="my kubeconfig"))
    assert message in str(caught.value)
    assert "my kubeconfig" in str(caught.value)


def test_a_plugin_that_is_not_installed() -> None:
    given = ExecPlugin(command="no-such-cloud-login", install_hint="Install it from https://example.com.")
    with pytest.raises(Unauthorized, match=r"cannot be run: .* Install it from https://example\.com"):
        ask(lambda url: ClusterConfig(server=url, exec=given))


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority `ca`, a server for 127.0.0.1 and api.example.com, and a client `ann`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "other-ca"):
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        run("req", "-x509", *key, "-keyout", f"{authority}.key", "-out", f"{authority}.crt", "-subj", "/CN=ca", *usage)
    extensions = {"server": "subjectAltName=IP:127.0.0.1,DNS:api.example.com", "ann": "extendedKeyUsage=clientAuth"}
    for name, extension in extensions.items():
        (folder / f"{name}.ext").write_text(f"{extension}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
        run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)
    return folder


def server_tls(certificates: Path, *, client: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    if client:
        context.load_verify_locations(certificates / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def data(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def test_a_server_is_known_by_its_authority(certificates: Path) -> None:
    tls = server_tls(certificates)
    assert ask(lambda url: ClusterConfig(server=url, certificate_authority=certificates / "ca.crt"), tls=tls) == [None]
    authority = data(certificates / "ca.crt")
    assert ask(lambda url: ClusterConfig(server=url, certificate_authority_data=authority), tls=tls) == [None]
    assert ask(lambda url: ClusterConfig(server=url, insecure_skip_tls_verify=True), tls=tls) == [None]


def test_a_server_of_another_authority_is_not_trusted(certificates: Path) -> None:
    with pytest.raises(Unavailable, match="check certificate-authority and tls-server-name"):
        ask(
            lambda url: ClusterConfig(server=url, certificate_authority=certificates / "other-ca.crt", token="t"),
            tls=server_tls(certificates),
        )


def test_a_server_may_go_by_another_name(certificates: Path) -> None:
    def config(name: str) -> Callable[[str], ClusterConfig]:
        return lambda url: ClusterConfig(
            server=url, certificate_authority=certificates / "ca.crt", tls_server_name=name
        )

    assert ask(config("api.example.com"), tls=server_tls(certificates)) == [None]
    with pytest.raises(Unavailable, match="tls-server-name"):
        ask(config("wrong.example.com"), tls=server_tls(certificates))


def test_client_certificates_from_files_data_and_plugins(certificates: Path, tmp_path: Path) -> None:
    people = []

    async def who(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        people.append(dict(pair[0] for pair in request.transport.get_extra_info("peercert")["subject"])["commonName"])
        return await welcome(request)

    certificate, key = certificates / "ann.crt", certificates / "ann.key"
    status = {"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}
    given = plugin(tmp_path, f"print(json.dumps({{'status': {json.dumps(status)}}}))")
    identities: list[dict[str, Any]] = [
        {"client_certificate": certificate, "client_key": key},
        {"client_certificate_data": data(certificate), "client_key_data": data(key)},
        {"exec": given},
    ]
    for identity in identities:

        def config(url: str, identity: dict[str, Any] = identity) -> ClusterConfig:
            return ClusterConfig(server=url, certificate_authority=certificates / "ca.crt", **identity)

        ask(config, answer=who, tls=server_tls(certificates, client=True))
    assert people == ["ann"] * 3


BAD_FILES: dict[str, dict[str, Any]] = {
    "a missing authority": {"certificate_authority": Path("/nowhere/ca.crt")},
    "an authority that is no certificate": {"certificate_authority_data": base64.b64encode(b"nonsense").decode()},
    "data that is no base64": {"certificate_authority_data": "%%%"},
    "a missing client certificate": {
        "client_certificate": Path("/nowhere/a.crt"),
        "client_key": Path("/nowhere/a.key"),
    },
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_certificates_that_cannot_be_loaded(name: str) -> None:
    with pytest.raises(KubeconfigError, match="my kubeconfig: cannot load the certificates"):
        HttpApi(ClusterConfig(server="https://127.0.0.1:1", source="my kubeconfig", **BAD_FILES[name]))
