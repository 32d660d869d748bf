"""How much one simulated model server bears on one core: whole answers and streams, with the server's CPU time.

    python bench/simulator.py [--concurrency 200] [--requests 400] [--max-tokens 64]

The engine is set to its fastest, so that the HTTP side is what is measured. Prints a table and one line of JSON.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

SETTINGS = {"load-seconds": 0, "time-to-first-token-ms": 0, "inter-token-latency-ms": 0}
READY_SECONDS = 30


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_server(port: int) -> tuple[subprocess.Popen[bytes], float]:
    """The server's process, and the seconds until it answered."""
    began = time.monotonic()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "outrider.serving.simulator", "serve", "llama-3.1-8b"),
            *("--host=127.0.0.1", f"--port={port}", "--disable-uvicorn-access-log"),
        ],
        env=os.environ | {"OUTRIDER_SIMULATOR": json.dumps(SETTINGS)},
        stdout=subprocess.DEVNULL,
    )
    while time.monotonic() < began + READY_SECONDS:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
        except OSError:
            time.sleep(0.01)
        else:
            return process, time.monotonic() - began
    process.kill()
    raise SystemExit("the server did not start")


def cpu_seconds(pid: int) -> float | None:
    """User and system time of a process so far; None where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(port: int, number: int, *, stream: bool, max_tokens: int) -> None:
    """One request on its own connection, read to its end."""
    body = {"prompt": f"Question {number}: tell me about Kubernetes.", "max_tokens": max_tokens, "ignore_eos": True}
    payload = json.dumps(body | {"stream": stream}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(payload)}\r\nConnection: close\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + payload)
    answer = await reader.read(-1)
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200") or (stream and b"[DONE]" not in answer):
        raise SystemExit(f"a request failed: {answer[:200]!r}")


async def load(port: int, *, stream: bool, requests: int, concurrency: int, max_tokens: int) -> float:
    """Seconds that all requests took."""
    slots = asyncio.Semaphore(concurrency)

    async def one(number: int) -> None:
        async with slots:
            await ask(port, number, stream=stream, max_tokens=max_tokens)

    began = time.monotonic()
    await asyncio.gather(*(one(number) for number in range(requests)))
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--max-tokens", type=int, default=64)
    # Under bench/run.py the command line is that of run.py.
    options = parser.parse_args(sys.argv[1:] if Path(sys.argv[0]).stem == "simulator" else [])
    port = free_port()
    process, start_seconds = start_server(port)
    results: dict[str, object] = {"benchmark": "simulator", "start_seconds": round(start_seconds, 3), **vars(options)}
    print(f"{'':10} {'requests/s':>12} {'tokens/s':>12} {'CPU µs/token':>14}")
    try:
        for name, stream in (("whole", False), ("streamed", True)):
            before = cpu_seconds(process.pid)
            seconds = asyncio.run(load(port, stream=stream, **vars(options)))
            after = cpu_seconds(process.pid)
            tokens = options.requests * options.max_tokens
            cpu = None if before is None or after is None else round((after - before) / tokens * 1e6, 1)
            print(f"{name:10} {options.requests / seconds:12.1f} {tokens / seconds:12.0f} {cpu or 'unknown':>14}")
            results[name] = {
                "requests_per_second": round(options.requests / seconds, 1),
                "tokens_per_second": round(tokens / seconds),
                "cpu_microseconds_per_token": cpu,
            }
    finally:
        process.terminate()
        process.wait()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
