"""The world's DNS: names of Services, over UDP and TCP, at the address that clusters have it at.

`NAME.NAMESPACE.svc.cluster.local` is what CoreDNS answers in a cluster; here an LLMDeployment's own name stands for its
Service as well, though it may hold dots: the namespace is the last label. There is nothing outside to ask: any other
name does not exist.
"""

import asyncio
import contextlib
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from outrider.kube.api import Object
from outrider.kube.files import make_private_folder, write_private
from outrider.kube.objects import SERVICE

DNS_ADDRESS = "10.96.0.10"
DNS_PORT = 53
CLUSTER_DOMAIN = "cluster.local"
TTL_SECONDS = 5
"""As CoreDNS' kubernetes plugin has it."""
UDP_BYTES = 512
"""The longest answer over UDP where the client does not say that it takes more (RFC 1035)."""
STREAM_BYTES = 65535
_RESOLV_CONF, _NSSWITCH_CONF = Path("/etc/resolv.conf"), Path("/etc/nsswitch.conf")
RESOLV_CONF = f"""search svc.{CLUSTER_DOMAIN} {CLUSTER_DOMAIN}
nameserver {DNS_ADDRESS}
options ndots:5
"""

Resolve = Callable[[str, str], Sequence[str] | None]
"""The addresses of a namespace's Service (namespace, name); None when there is no such Service."""


def service_body() -> Object:
    """The Service by which clusters know their DNS; without a selector, since no pod is behind it."""
    ports = [{"name": name, "port": DNS_PORT, "protocol": kind} for name, kind in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": DNS_ADDRESS, "ports": ports},
    }


def resolver_files(folder: Path) -> dict[Path, Path]:
    """What has to stand in place of the system's files, by those: written into `folder`.

    Beside `resolv.conf` also `nsswitch.conf` where it names more than files and DNS: systemd's resolver, for one,
    would be asked over a socket of the host.
    """
    make_private_folder(folder)
    contents = {_RESOLV_CONF: RESOLV_CONF}
    with contextlib.suppress(OSError):
        before = _NSSWITCH_CONF.read_text(encoding="utf-8")
        after = re.sub(r"(?m)^hosts:.*$", "hosts: files dns", before)
        contents |= {_NSSWITCH_CONF: after} if after != before else {}
    for shown, content in contents.items():
        write_private(folder / shown.name, content.encode())
    return {shown: folder / shown.name for shown in contents}


def names_are_resolved() -> bool:
    """Whether the programs of this process's mount namespace ask the world's DNS."""
    try:
        return _RESOLV_CONF.read_text(encoding="utf-8") == RESOLV_CONF
    except OSError:
        return False


class DnsServer:
    """Answers for `resolve`. `run` it within the world's network."""

    def __init__(self, resolve: Resolve, *, address: str = DNS_ADDRESS, port: int = DNS_PORT) -> None:
        self._resolve = resolve
        self._address = address
        self._port = port
        self.serving = asyncio.Event()
        """Set once it listens."""

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            OSError: the address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        place = (self._address, self._port)
        transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=place)
        try:
            server = await asyncio.start_server(self._serve_stream, *place)
            try:
                self.serving.set()
                await server.serve_forever()
            finally:
                server.close()
        finally:
            transport.close()

    def answer(self, question: bytes, *, datagram: bool) -> bytes | None:
        """The answer to one message; None for what is no question. A datagram that is too long says so (TC)."""
        try:
            query = dns.message.from_wire(question)
        except (dns.exception.DNSException, struct.error):
            return None
        if query.flags & dns.flags.QR:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        response.flags |= dns.flags.AA
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            response.set_rcode(dns.rcode.NOTIMP)
        else:
            self._fill(response)
        longest = max(UDP_BYTES, query.payload) if datagram else STREAM_BYTES
        try:
            return response.to_wire(max_size=longest)
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()

    def _fill(self, response: dns.message.Message) -> None:
        question = response.question[0]
        addresses = self._addresses(question.name.to_text(omit_final_dot=True).lower())
        if addresses is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif (
            addresses
            and question.rdclass == dns.rdataclass.IN
            and question.rdtype
            in (
                dns.rdatatype.A,
                dns.rdatatype.ANY,
            )
        ):
            # Other types of a name that exists: no answer, and no error, or resolvers take the name for missing.
            response.answer.append(dns.rrset.from_text(question.name, TTL_SECONDS, "IN", "A", *addresses))

    def _addresses(self, name: str) -> Sequence[str] | None:
        rest = name.removesuffix(f".svc.{CLUSTER_DOMAIN}")
        service, dot, namespace = rest.rpartition(".")
        return self._resolve(namespace, service) if dot and rest != name else None

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError), contextlib.closing(writer):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = self.answer(await reader.readexactly(length), datagram=False)
                if answer is None:
                    return
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # by class it is none before Python 3.12

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        answer = self._server.answer(data, datagram=True)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, address)
