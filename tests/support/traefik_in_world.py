"""Runs Traefik within a world's network, reached through ports of the host: `traefik_in_world.py FOLDER PROGRAM CA`.

FOLDER is the world's control plane's, CA the file of the certificate that the API server is trusted by. The ports are
taken, and printed, before the world is up: its operator has to be told where the Gateway is reached. Then a service
account's token is read from standard input, and Traefik started. It ends with this process.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

from outrider.local.controlplane import tether
from outrider.local.controlplane.namespace import Anchor, enter
from outrider.local.controlplane.relay import relayed

ADDRESS = "192.168.77.251"
"""Of the range of nodes' addresses, beside the world's own."""
WEB, ADMIN = 8000, 9000
"""Traefik's entry point has to be the port of the Gateway's listener."""
OPTIONS = (
    *("--gateway-inside-url", f"http://{ADDRESS}:{WEB}"),
    *("--gateway-metrics", f"http://{ADDRESS}:{ADMIN}/metrics"),
)
"""How `outrider up` is told where its operator finds it."""


def flags(token: str, authority: str) -> list[str]:
    provider = "--providers.kubernetesgateway"
    return [
        f"--entrypoints.web.address={ADDRESS}:{WEB}",
        f"--entrypoints.traefik.address={ADDRESS}:{ADMIN}",
        f"{provider}=true",
        f"{provider}.endpoint=https://127.0.0.1:6443",
        f"{provider}.token={token}",
        f"{provider}.certauthfilepath={authority}",
        f"{provider}.statusaddress.ip={ADDRESS}",
        "--metrics.prometheus=true",
        "--metrics.prometheus.addrouterslabels=true",
        "--ping=true",
        "--log.level=WARN",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]


async def main(folder: Path, program: str, authority: str) -> None:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    print(*(listener.getsockname()[1] for listener in listeners), flush=True)
    token = sys.stdin.readline().strip()
    if not token:
        return
    enter(Anchor(folder), [])
    argv = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), program, *flags(token, authority)]
    with (folder / "logs" / "traefik.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=asyncio.subprocess.STDOUT)
    async with relayed(listeners[0], ADDRESS, WEB), relayed(listeners[1], ADDRESS, ADMIN):
        sys.exit(await process.wait())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:4]))
