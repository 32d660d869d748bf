"""A control plane alone, on free ports of loopback: `python -m outrider.local.controlplane FOLDER`.

For tests and experiments that need a real API server and no pods (pods need addresses that are not loopback's: that is
what `outrider up --kubernetes` is for). It prints one line when it is ready, and ends with SIGTERM or Ctrl-C.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from pathlib import Path

from outrider.kube.clock import SystemClock
from outrider.local.controlplane.flags import PlaneSettings, Ports
from outrider.local.controlplane.plane import ControlPlane
from outrider.local.controlplane.programs import find_programs


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


async def _run(folder: Path, audit_policy: Path | None, *, controllers: bool) -> None:
    ports = Ports(*_free_ports(3))
    settings = PlaneSettings(ports=ports, audit_policy=audit_policy, controllers=controllers)
    plane = ControlPlane(find_programs(), folder, SystemClock(), settings)
    running = asyncio.create_task(plane.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    ready = asyncio.create_task(plane.ready.wait())
    await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        kubeconfig = folder / "kubeconfig"
        plane.write_kubeconfig(kubeconfig, plane.pki.admin)
        sys.stdout.write(f"ready: export KUBECONFIG={kubeconfig}\n")
        sys.stdout.flush()
    ready.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m outrider.local.controlplane", description=__doc__)
    parser.add_argument("folder", type=Path, help="where its database, certificates, kubeconfig and logs are kept")
    parser.add_argument("--audit-policy", type=Path, help="write FOLDER/audit.log as this policy says")
    parser.add_argument("--no-controllers", action="store_true", help="no controller-manager and no scheduler")
    arguments = parser.parse_args()
    folder, policy = arguments.folder.absolute(), arguments.audit_policy
    asyncio.run(_run(folder, policy, controllers=not arguments.no_controllers))


if __name__ == "__main__":
    main()
