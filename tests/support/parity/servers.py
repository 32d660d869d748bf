"""The two servers that are compared, and how a case is put to one of them."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from parity.steps import NAMESPACE, Case, From, Step

from outrider.kube.clock import SystemClock
from outrider.kube.kubeconfig import ClusterConfig
from outrider.local.rest import make_app
from outrider.local.store import Store

_TOKEN = "both-are-asked-the-same"
_USER_AGENT = "parity/1"
"""The program's name is the field manager of writes that name none: the same for both."""
_PATIENCE = 15.0
"""Seconds for an answer."""


class Answer(msgspec.Struct, frozen=True):
    code: int
    body: Any
    """Decoded JSON, or text; of a watch, the list of its events."""


class Server:
    """A server, local or real."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def ask(self, step: Step, namespace: str, before: list[Answer]) -> Answer:
        request = self._session.request(
            step.method,
            self._url + step.path.replace(NAMESPACE, namespace),
            params={name: str(_resolved(value, namespace, before)) for name, value in step.query.items()},
            data=None if step.body is None else msgspec.json.encode(_resolved(step.body, namespace, before)),
            headers={} if step.body is None else {"Content-Type": step.content_type},
        )
        async with asyncio.timeout(_PATIENCE), request as response:
            if step.events and response.status == 200:
                lines = [await response.content.readline() for _ in range(step.events)]
                return Answer(200, [msgspec.json.decode(line) for line in lines if line])
            content = await response.read()
            is_json = response.content_type == "application/json"
            return Answer(response.status, msgspec.json.decode(content) if is_json else content.decode())

    async def run(self, case: Case, namespace: str) -> list[Answer]:
        """The answers to all steps of a case, in a namespace that is made for it."""
        made = Step("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        assert (await self.ask(made, namespace, [])).code == 201
        # Pods are not admitted without it; where there is a controller that makes it, it may be there already.
        account = {"metadata": {"name": "default"}}
        await self.ask(Step("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account), namespace, [])
        answers: list[Answer] = []
        for step in case:
            answers.append(await self.ask(step, namespace, answers))
        return answers


def _resolved(value: Any, namespace: str, before: list[Answer]) -> Any:
    """`value` with what stands for parts of earlier answers, and for the namespace, filled in."""
    if isinstance(value, From):
        found = before[value.step].body
        for part in value.path.split("."):
            found = found[int(part)] if part.isdigit() else found.get(part, "")
        return found
    if isinstance(value, dict):
        return {name: _resolved(part, namespace, before) for name, part in value.items()}
    if isinstance(value, list):
        return [_resolved(part, namespace, before) for part in value]
    return value.replace(NAMESPACE, namespace) if isinstance(value, str) else value


@asynccontextmanager
async def local_server() -> AsyncIterator[Server]:
    """The store behind its REST door, on a free port, with no actor beside it."""
    async with Store.opened(SystemClock()) as store:
        runner = web.AppRunner(make_app(store, token=_TOKEN), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        try:
            async with _session(None, _TOKEN) as session:
                yield Server(f"http://{host}:{port}", session)
        finally:
            await runner.cleanup()


@asynccontextmanager
async def real_server(config: ClusterConfig) -> AsyncIterator[Server]:
    """The API server that a kubeconfig leads to."""
    async with _session(_tls(config), config.token) as session:
        yield Server(config.server, session)


def _session(tls: ssl.SSLContext | None, token: str) -> aiohttp.ClientSession:
    headers = {"User-Agent": _USER_AGENT, "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connector = aiohttp.TCPConnector(ssl=tls) if tls is not None else None
    return aiohttp.ClientSession(headers=headers, connector=connector)


def _tls(config: ClusterConfig) -> ssl.SSLContext:
    def text(path: Path | None, data: str) -> str:
        return path.read_text() if path is not None else base64.b64decode(data).decode()

    context = ssl.create_default_context()
    if config.insecure_skip_tls_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif config.certificate_authority or config.certificate_authority_data:
        context = ssl.create_default_context(
            cadata=text(config.certificate_authority, config.certificate_authority_data)
        )
    if config.client_certificate or config.client_certificate_data:
        with TemporaryDirectory() as folder:  # Python's ssl takes certificates from files alone
            files = [Path(folder, name) for name in ("certificate", "key")]
            files[0].write_text(text(config.client_certificate, config.client_certificate_data))
            files[1].write_text(text(config.client_key, config.client_key_data))
            context.load_cert_chain(files[0], files[1])
    return context
