"""Which proxy a request goes through, as Go's `http.ProxyFromEnvironment` decides for kubectl and every operator.

Go reads `HTTPS_PROXY` for https and `HTTP_PROXY` for http, in capitals or small letters, and no `ALL_PROXY`. Nothing
goes through a proxy to `localhost` or a loopback address. `NO_PROXY` is a list of `*`, addresses, networks such as
10.96.0.0/12, and domains: `example.com` means it and all below it, `.example.com` and `*.example.com` only what is
below. Addresses and domains may name a port. The HTTP client's own reading of these variables knows no networks, which
is how clusters are excluded most often.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def proxy_for(server: str, environ: Mapping[str, str]) -> str:
    """The URL of the proxy that the environment names for requests to `server`; empty for none."""
    url = urlsplit(server)
    name = "HTTPS_PROXY" if url.scheme == "https" else "HTTP_PROXY"
    proxy = environ.get(name) or environ.get(name.lower()) or ""
    host = (url.hostname or "").lower()
    port = url.port or _DEFAULT_PORTS.get(url.scheme, 0)
    if not proxy or is_loopback(host):
        return ""
    excluded = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if any(_excludes(entry.strip().lower(), host, port) for entry in excluded.split(",")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine itself."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _excludes(entry: str, host: str, port: int) -> bool:
    """Whether one entry of `NO_PROXY` means this host and port."""
    if not entry:
        return False
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        return address is not None and _in_network(address, entry)
    name, entry_port = _split_port(entry)
    if not name or (entry_port and entry_port != port):
        return False
    excluded = _address(name)
    if excluded is not None:
        return address == excluded
    domain = name.removeprefix("*")
    return host.endswith(domain) if domain.startswith(".") else host == domain or host.endswith(f".{domain}")


def _split_port(entry: str) -> tuple[str, int]:
    """Host and port of an entry; port 0 where it names none. An IPv6 address with a port is in brackets."""
    if _address(entry) is not None:
        return entry, 0
    name, colon, port = entry.rpartition(":")
    if colon and port.isdecimal():
        return name.strip("[]"), int(port)
    return entry.strip("[]"), 0


def _in_network(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
