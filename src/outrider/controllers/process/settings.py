"""What an operator process is told when it starts, beyond what the operator itself is."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from outrider.kube.lease import LeaseTimings
from outrider.kube.proxies import is_loopback

LEASE_NAME = "outrider-operator"


@dataclass(frozen=True)
class Address:
    """Where to listen."""

    host: str
    """Empty: on all addresses of the machine."""
    port: int
    """0: any that is free."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST:PORT`, `:PORT` or `[IPV6]:PORT`. Raises `ValueError` that says what is allowed."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535 or (":" in host and not host.startswith("[")):
            raise ValueError('must be an address such as ":8081", "127.0.0.1:8081" or "[::1]:8081"')
        return cls(host.strip("[]"), int(port))

    @property
    def loopback(self) -> bool:
        """Whether only this machine itself (in a cluster: this pod) can reach it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class LeaderElectionSettings:
    """The Lease by which several operators agree on one."""

    namespace: str
    identity: str
    """Unique to this process; several containers of one pod, one after the other, are several processes."""
    name: str = LEASE_NAME
    timings: LeaseTimings = field(default_factory=LeaseTimings)


@dataclass(frozen=True)
class ProcessSettings:
    namespace: str
    """The operator's own namespace, where it publishes its settings."""
    election: LeaderElectionSettings | None
    """None: there is no other operator, which whoever starts it has to make sure of."""
    health: Address | None = Address("", 8081)
    metrics: Address | None = Address("", 8443)
    metrics_insecure: bool = False
    """Plain HTTP for whoever can reach the address."""
    metrics_certificate: tuple[Path, Path] | None = None
    """Certificate and key of the metrics endpoint; None: self-signed, made at the start."""
    api_patience: float = 60.0
    """Seconds to wait at the start for an API server that cannot be reached."""
