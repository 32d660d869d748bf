"""Proxies that are not ours in front of one server: Traefik, and nginx where there is one."""

import runpy
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0

_TRAEFIK_ROUTES = """\
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", service: server}}
  services:
    server: {{loadBalancer: {{servers: [{{url: "http://127.0.0.1:{port}"}}]}}}}
"""
_NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream server {{ server 127.0.0.1:{port}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{listen};
    location / {{
      proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@contextmanager
def plain_proxies(server_port: int, folder: Path) -> Iterator[dict[str, tuple[int, int]]]:
    """Process id and port of each proxy that is installed, in front of the server."""
    with ExitStack() as stack:
        found: dict[str, tuple[int, int]] = {}
        for name, command in (("traefik", _traefik(server_port, folder)), ("nginx", _nginx(server_port, folder))):
            if command is not None:
                argv, port = command
                found[name] = (stack.enter_context(_running(argv, port)), port)
        yield found


def _traefik(server_port: int, folder: Path) -> tuple[list[str], int] | None:
    program = runpy.run_path(str(ROOT / "tools" / "traefik" / "install.py"))["program"]()
    if not program.is_file():
        return None
    routes, port = folder / "routes.yaml", free_port()
    routes.write_text(_TRAEFIK_ROUTES.format(port=server_port))
    options = [f"--entryPoints.web.address=127.0.0.1:{port}", f"--providers.file.filename={routes}"]
    return [str(program), *options, "--global.sendAnonymousUsage=false", "--global.checkNewVersion=false"], port


def _nginx(server_port: int, folder: Path) -> tuple[list[str], int] | None:
    program = shutil.which("nginx")
    if program is None:
        return None
    configuration, port = folder / "nginx.conf", free_port()
    configuration.write_text(_NGINX.format(folder=folder, port=server_port, listen=port))
    return [program, "-e", str(folder / "error.log"), "-c", str(configuration)], port


@contextmanager
def _running(argv: list[str], port: int) -> Iterator[int]:
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port, process)
            yield process.pid
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until something listens there. Exits where the process ends or nothing comes."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"{process.args!r} does not listen on port {port}")
