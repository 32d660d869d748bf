"""Where pods listen: an address of its own for each, or where the system has only 127.0.0.1 a port of its own."""

import hashlib
import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Mode = Literal["own", "shared"]

NETWORK = "127.64.0.0/10"
SHARED_ADDRESS = "127.0.0.1"
PORTS_TRIED = 200
"""Free ports asked of the system before giving up on finding one that no other pod was promised."""


@dataclass(frozen=True)
class Lease:
    """What one pod was given. `ports` maps container ports to ports of this machine; empty with an own address."""

    address: str
    ports: Mapping[int, int]

    def port(self, container_port: int) -> int:
        """The port on which this container port is really served."""
        return self.ports.get(container_port, container_port)


class AddressesExhaustedError(Exception):
    """No address or port is left."""


class AddressPool:
    """Hands out addresses to the pods of all kubelets of one process.

    Without a `mode` it is own addresses where any of 127.0.0.0/8 can be bound (Linux), else ports (macOS). `seed`
    chooses where in the network it begins, so that two worlds on one machine do not meet; without it, it is chosen at
    random. Addresses are handed out in order, so that one that just became free is not used again at once.
    """

    def __init__(self, mode: Mode | None = None, *, network: str = NETWORK, seed: str = "") -> None:
        self.mode: Mode = mode or _detect_mode()
        self._network = ipaddress.IPv4Network(network)
        self._leases: dict[str, Lease] = {}
        self._used: set[str] = set()
        # 2**8 neighbours per step keeps worlds apart; the first and last address of the network are left out.
        steps = max(1, self._network.num_addresses >> 8)
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) if seed else secrets.randbits(32)
        self._next = number % steps << 8

    def adopt(self, uid: str, address: str, ports: Mapping[int, int] | None = None) -> Lease:
        """Take note of what a pod of an earlier life already has."""
        lease = Lease(address, dict(ports or {}))
        self._take(uid, lease)
        return lease

    def allocate(self, uid: str, ports: Iterable[int] = ()) -> Lease:
        """What the pod has, or a new address on which nobody listens on these ports.

        Raises:
            AddressesExhaustedError: there is none.
        """
        if known := self._leases.get(uid):
            return known
        wanted = sorted(set(ports))
        lease = self._own(wanted) if self.mode == "own" else self._shared(wanted)
        self._take(uid, lease)
        return lease

    def release(self, uid: str) -> None:
        lease = self._leases.pop(uid, None)
        if lease is not None:
            self._used.discard(lease.address)

    def _take(self, uid: str, lease: Lease) -> None:
        self._leases[uid] = lease
        if self.mode == "own":
            self._used.add(lease.address)

    def _own(self, ports: Sequence[int]) -> Lease:
        size = self._network.num_addresses
        for _ in range(size):
            self._next = self._next % (size - 2) + 1
            address = str(self._network[self._next])
            if address not in self._used and all(_can_listen(address, port) for port in ports):
                return Lease(address, {})
        raise AddressesExhaustedError(f"all addresses of {self._network} are in use")

    def _shared(self, ports: Sequence[int]) -> Lease:
        promised = {port for lease in self._leases.values() for port in lease.ports.values()}
        mapping: dict[int, int] = {}
        for container_port in ports:
            mapping[container_port] = _free_port(promised)
            promised.add(mapping[container_port])
        return Lease(SHARED_ADDRESS, mapping)


def rewrite_ports(argv: Sequence[str], ports: Mapping[int, int]) -> list[str]:
    """The arguments with `--port=8080` and `--port 8080` changed to the port that stands for it."""
    out: list[str] = []
    for index, word in enumerate(argv):
        after_option = index > 0 and argv[index - 1] == "--port"
        found = re.fullmatch(r"(--port=)?([0-9]{1,5})", word)
        if found and (found[1] or after_option) and int(found[2]) in ports:
            word = f"{found[1] or ''}{ports[int(found[2])]}"
        out.append(word)
    return out


def _detect_mode() -> Mode:
    return "own" if _can_listen(str(ipaddress.IPv4Network(NETWORK)[1]), 0) else "shared"


def _can_listen(address: str, port: int) -> bool:
    """Whether nobody listens there. Connections that are still fading away do not count (SO_REUSEADDR)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _free_port(promised: set[int]) -> int:
    for _ in range(PORTS_TRIED):
        with socket.socket() as probe:
            probe.bind((SHARED_ADDRESS, 0))
            port: int = probe.getsockname()[1]
        if port not in promised:
            return port
    raise AddressesExhaustedError(f"no free port on {SHARED_ADDRESS} is left")
