"""What probes and lifecycle hooks do: run a program, send a GET request, open a connection, or sleep."""

import asyncio
import contextlib
import math
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from outrider.kube.clock import Clock

OUTPUT_BYTES = 10 * 1024
"""How much of a probe's answer is read, and shown in events at most: the kubelet's limit."""
USER_AGENT = "kube-probe/1.36"


@dataclass(frozen=True)
class Outcome:
    ok: bool
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The running container that a handler is about."""

    address: str
    port: Callable[[int], int]
    """From a container port to the port on which it is really served."""
    named_ports: Mapping[str, int]
    env: Mapping[str, str]
    cwd: Path


class Handlers:
    """Carries out handlers. Close it to close its connections."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def run(self, handler: Mapping[str, Any], target: Target, timeout: float) -> Outcome:
        """Carry out the handler; an error or running out of time is a failure, not an exception."""
        try:
            async with asyncio.timeout(timeout):
                return await self._run(handler, target)
        except TimeoutError:
            # Up to a tenth of a second: what is left of a grace period is milliseconds less than people gave.
            return Outcome(False, f"command or request timed out after {math.ceil(timeout * 10) / 10:g}s")
        except (OSError, aiohttp.ClientError, ValueError) as error:
            return Outcome(False, str(error) or type(error).__name__)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _run(self, handler: Mapping[str, Any], target: Target) -> Outcome:
        if (get := handler.get("httpGet")) is not None:
            return await self._http_get(get, target)
        if (socket := handler.get("tcpSocket")) is not None:
            return await _connect(socket.get("host") or target.address, _port(socket["port"], target))
        if (grpc := handler.get("grpc")) is not None:
            # Without a gRPC library all that can be told is whether the server listens.
            return await _connect(target.address, _port(grpc["port"], target))
        if (execute := handler.get("exec")) is not None:
            return await execute_program(execute.get("command") or (), target)
        if (sleep := handler.get("sleep")) is not None:
            await self._clock.sleep(float(sleep.get("seconds") or 0))
            return Outcome(True)
        raise ValueError(f"unknown handler {sorted(handler)}: use exec, httpGet, tcpSocket or sleep")

    async def _http_get(self, get: Mapping[str, Any], target: Target) -> Outcome:
        scheme = str(get.get("scheme") or "HTTP").lower()
        host = get.get("host") or target.address
        path = "/" + str(get.get("path") or "/").removeprefix("/")
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
        headers |= {header["name"]: str(header.get("value") or "") for header in get.get("httpHeaders") or ()}
        url = f"{scheme}://{host}:{_port(get['port'], target)}{path}"
        # A kubelet does not check the certificates of what it probes, and follows no redirect to elsewhere.
        async with self._client().get(url, headers=headers, ssl=False, allow_redirects=False) as response:
            await response.content.read(OUTPUT_BYTES)
            if 200 <= response.status < 400:
                return Outcome(True)
            return Outcome(False, f"HTTP probe failed with statuscode: {response.status}")

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._session


async def execute_program(command: Sequence[str], target: Target) -> Outcome:
    """Run a program in the container's environment; success is exit code 0. Cancelled, it is killed with its group."""
    if not command:
        raise ValueError("exec has no command")
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(target.env),
        cwd=target.cwd,
        start_new_session=True,
    )
    try:
        output = await _first_bytes(process)
        code = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    text = output.decode(errors="replace").strip()
    return Outcome(True) if code == 0 else Outcome(False, text or f"command exited with {code}")


async def _first_bytes(process: asyncio.subprocess.Process) -> bytes:
    """The beginning of the output; the rest is read and thrown away, so that the program never blocks on it."""
    assert process.stdout is not None
    kept = b""
    while chunk := await process.stdout.read(OUTPUT_BYTES):
        kept += chunk[: OUTPUT_BYTES - len(kept)]
    return kept


async def _connect(host: str, port: int) -> Outcome:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Outcome(True)


def _port(raw: Any, target: Target) -> int:
    """The real port for a number or a port's name. Raises ValueError for a name that no port has."""
    if isinstance(raw, str) and not raw.isdecimal():
        if raw not in target.named_ports:
            raise ValueError(f"no port of the container is named {raw!r}")
        return target.port(target.named_ports[raw])
    return target.port(int(raw))
