"""What the gateway costs, against the same server directly and, where they are installed, beside Traefik and nginx.

    python bench/gateway.py [--seconds 3] [--concurrency 32] [--rate 200] [--rounds 5]

Client, gateway and server are three processes. First as much as goes through, with a server that does next to nothing,
so that the gateway is what is measured; latency is until the first byte of the answer's body. Then a fixed rate against
the simulated model server, in rounds in which every way has its turn; latency is from when a request was to be sent
until its whole answer, or a stream's first event, was here. Prints tables and one line of JSON.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from outrider.kube.clock import SystemClock
from outrider.kube.objects import EndpointSlice, Service
from outrider.local.gateway.gateway import HANDLER_OPTIONS
from outrider.local.gateway.metrics import GatewayMetrics
from outrider.local.gateway.proxy import Proxy
from outrider.local.gateway.routes import RoutingTable

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "parts")]
from open_loop import open_loop  # noqa: E402
from plain_proxies import plain_proxies  # noqa: E402
from simulator import free_port, start_server  # noqa: E402

EVENTS = 20
EVENT_SECONDS = 0.01
"""Between two events, as a fast model has it."""
INSTALL = {"traefik": ": python3 tools/traefik/install.py installs it"}
EVENT = b'data: {"choices":[{"text":" token"}]}\n\n'
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
WHOLE = json.dumps({"choices": [{"text": " token" * 50}], "usage": {"completion_tokens": 50}}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n"
BODY = json.dumps({"model": "m", "prompt": "Tell me about Kubernetes. " * 20, "max_tokens": 50}).encode()


class Server(asyncio.Protocol):
    """Answers every POST: `/stream` with events at a steady pace, anything else with one JSON body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= len(BODY):
            self._received = b""
            if b"/stream " in head.split(b"\r\n", 1)[0]:
                self._transport.write(HEAD % b"text/event-stream" + b"Transfer-Encoding: chunked\r\n\r\n")
                asyncio.get_running_loop().call_soon(self._event, EVENTS)
            else:
                length = b"Content-Length: %d\r\n\r\n" % len(WHOLE)
                self._transport.write(HEAD % b"application/json" + length + WHOLE)

    def _event(self, left: int) -> None:
        self._transport.write(CHUNK if left else b"0\r\n\r\n")
        if left:
            asyncio.get_running_loop().call_later(EVENT_SECONDS, self._event, left - 1)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def serve_gateway(port: int) -> None:
    table = RoutingTable()
    metadata = {"name": "m", "namespace": "bench", "labels": {"kubernetes.io/service-name": "m"}}
    ports = [{"name": "http", "port": port}]
    table.put_service(msgspec.convert({"metadata": metadata, "spec": {"ports": ports}}, Service))
    table.endpoints.put_slice(
        msgspec.convert(
            {"metadata": metadata, "ports": ports, "endpoints": [{"addresses": ["127.0.0.1"]}]}, EndpointSlice
        )
    )
    async with Proxy(table, GatewayMetrics(), SystemClock()) as proxy:
        app = web.Application(handler_args=HANDLER_OPTIONS)
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()


@contextmanager
def process(*arguments: str) -> Iterator[tuple[int, int]]:
    """This file in another role; gives its process id and port."""
    child = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        yield child.pid, int(child.stdout.readline())
    finally:
        child.terminate()
        child.wait()


def cpu_seconds(pid: int) -> float | None:
    """User and system time of a process so far; None where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> float:
    """One request on a kept connection; gives the seconds until the first byte of the answer's body."""
    began = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"a request failed: {head[:200]!r}")
    if b"chunked" in head.lower():
        await reader.readuntil(b"\r\n")
        first = time.perf_counter() - began
        await reader.readuntil(b"\r\n0\r\n\r\n")
    else:
        await reader.readexactly(len(WHOLE))
        first = time.perf_counter() - began
    return first


async def load(port: int, path: str, *, seconds: float, concurrency: int) -> list[float]:
    """The latencies of all requests that were answered in so many seconds."""
    head = f"POST /bench/m{path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end:
            latencies.append(await exchange(reader, writer, request))
        writer.close()

    await asyncio.gather(*(one() for _ in range(concurrency)))
    return latencies


def measure(port: int, pid: int, path: str, seconds: float, concurrency: int) -> dict[str, float | None]:
    asyncio.run(load(port, path, seconds=0.2, concurrency=concurrency))  # warm
    before, began = cpu_seconds(pid), time.perf_counter()
    latencies = asyncio.run(load(port, path, seconds=seconds, concurrency=concurrency))
    elapsed, after = time.perf_counter() - began, cpu_seconds(pid)
    cpu = None if before is None or after is None else round((after - before) / len(latencies) * 1e6, 1)
    return {
        "requests_per_second": round(len(latencies) / elapsed, 1),
        "p50_ms": round(statistics.median(latencies) * 1e3, 3),
        "p99_ms": round(statistics.quantiles(latencies, n=100)[98] * 1e3, 3),
        "cpu_microseconds_per_request": cpu,
    }


def completion(path: str, *, stream: bool) -> bytes:
    """A request to the simulated model server: eight tokens, as fast as it makes them."""
    body = {"prompt": "Tell me about Kubernetes. " * 20, "max_tokens": 8, "ignore_eos": True, "stream": stream}
    payload = json.dumps(body).encode()
    head = f"POST {path}/v1/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload


def percentile(latencies: list[float], percent: int) -> float:
    """Milliseconds."""
    return statistics.quantiles(latencies, n=100)[percent - 1] * 1e3


def at_fixed_rate(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """What each way adds at a fixed rate: the median over all rounds, each compared with its own direct turn."""
    model, _ = start_server(model_port := free_port())
    try:
        with process("proxy", str(model_port)) as (pid, port), plain_proxies(model_port, folder) as others:
            ways = {"direct": (model.pid, model_port), "gateway": (pid, port), **others}
            for missing in {"traefik", "nginx"} - others.keys():
                print(f"{missing} is not installed and not compared" + INSTALL.get(missing, ""))
            found: dict[str, object] = {}
            for name, stream in (("", False), ("_streaming", True)):
                found |= rounds(ways, name, options, stream=stream)
            return found
    finally:
        model.terminate()
        model.wait()


def rounds(
    ways: dict[str, tuple[int, int]], suffix: str, options: argparse.Namespace, *, stream: bool
) -> dict[str, object]:
    requests = max(2, int(options.rate * options.seconds))
    turns: dict[str, list[list[float]]] = {way: [] for way in ways}
    cpu = dict.fromkeys(ways, 0.0)
    failures: dict[str, list[str]] = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, (pid, port) in ways.items():
            request = completion("/bench/m" if way == "gateway" else "", stream=stream)
            before = cpu_seconds(pid) or 0.0
            load = open_loop(port, request, rate=options.rate, requests=requests, warm=int(options.rate / 4))
            latencies, failed = asyncio.run(load)
            turns[way].append(latencies)
            failures[way] += failed
            cpu[way] += (cpu_seconds(pid) or 0.0) - before
    name = f"{options.rate:g}{suffix}"
    what = "streams" if stream else "whole answers"
    print(f"\n{what}, {options.rate:g} a second, {options.rounds} rounds of {requests}")
    print(f"{'':10}{'p50 ms':>9}{'p99 ms':>9}{'added p50':>11}{'added p99':>11}{'CPU µs/request':>16}{'failed':>8}")
    found: dict[str, object] = {}
    for way, each in turns.items():
        added = {
            percent: statistics.median(
                percentile(mine, percent) - percentile(direct, percent)
                for mine, direct in zip(each, turns["direct"], strict=True)
            )
            for percent in (50, 99)
        }
        everything = [latency for turn in each for latency in turn]
        p50, p99 = percentile(everything, 50), percentile(everything, 99)
        microseconds = cpu[way] / (options.rounds * (requests + int(options.rate / 4))) * 1e6
        print(
            f"{way:10}{p50:>9.2f}{p99:>9.2f}{added[50]:>11.2f}{added[99]:>11.2f}{microseconds:>16.0f}{len(failures[way]):>8}"
        )
        for why, count in Counter(failures[way]).items():
            print(f"{'':10}{count} failed: {why}")
        prefix = "" if way == "gateway" else f"{way}_"
        if way != "direct":
            found |= {f"{prefix}added_p{percent}_ms_{name}": round(value, 3) for percent, value in added.items()}
        found |= {f"{prefix}p99_ms_{name}": round(p99, 3), f"{prefix}failed_{name}": len(failures[way])}
        found[f"{prefix}cpu_microseconds_per_request_{name}"] = round(microseconds, 1)
    return found


def main() -> None:
    # Under bench/run.py the command line is that of run.py.
    arguments = sys.argv[1:] if Path(sys.argv[0]).stem == "gateway" else []
    if arguments[:1] == ["server"]:
        asyncio.run(serve())
    elif arguments[:1] == ["proxy"]:
        asyncio.run(serve_gateway(int(arguments[1])))
    else:
        report(arguments)


def report(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second of the second part")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    results: dict[str, object] = {"benchmark": "gateway", **vars(options), "events_per_stream": EVENTS}
    print(f"{'':38} {'requests/s':>11} {'p50 ms':>9} {'p99 ms':>9} {'CPU µs/request':>15}")
    with process("server") as (server_pid, server_port), process("proxy", str(server_port)) as (pid, port):
        for kind, path in (("whole", "/whole"), ("streamed", "/stream")):
            for concurrency in (1, options.concurrency):
                pair = []
                for way, through in (("direct", (server_port, server_pid)), ("gateway", (port, pid))):
                    row = measure(through[0], through[1], path, options.seconds, concurrency)
                    pair.append(row)
                    results[f"{kind}_{way}_{concurrency}"] = row
                    name = f"{kind}, {concurrency} at a time, {way}"
                    print(
                        f"{name:38} "
                        + " ".join(
                            f"{value!s:>{width}}" for value, width in zip(row.values(), (11, 9, 9, 15), strict=True)
                        )
                    )
                added = round((pair[1]["p50_ms"] or 0) - (pair[0]["p50_ms"] or 0), 3)
                results[f"{kind}_added_p50_ms_{concurrency}"] = added
                print(f"{'':4}added by the gateway (p50): {added} ms")
    whole: Any = results[f"whole_gateway_{options.concurrency}"]
    results["requests_per_second"] = whole["requests_per_second"]
    with tempfile.TemporaryDirectory() as folder:
        results |= at_fixed_rate(options, Path(folder))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
