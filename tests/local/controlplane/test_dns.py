"""What the world's DNS answers, message by message, and over its sockets."""

import asyncio
import socket
import struct

import dns.flags
import dns.message
import dns.rcode
import pytest

from outrider.local.controlplane.dns import DnsServer, resolver_files

KNOWN = {
    ("production", "llama-3-1-8b"): ["10.96.1.1"],
    ("production", "llama-3.1-8b"): ["10.96.1.1"],
    ("production", "headless"): ["10.244.0.1", "10.244.0.2"],
    ("production", "empty"): [],
    ("production", "many"): [f"10.244.1.{number}" for number in range(1, 101)],
}
SERVER = DnsServer(lambda namespace, name: KNOWN.get((namespace, name)), address="127.0.0.1", port=0)

ANSWERS = {
    "a Service": ("llama-3-1-8b.production.svc.cluster.local", "A", "NOERROR", ["10.96.1.1"]),
    "a name with dots, whose namespace is its last label": (
        *("llama-3.1-8b.production.svc.cluster.local", "A"),
        *("NOERROR", ["10.96.1.1"]),
    ),
    "names have no case": ("LLAMA-3-1-8B.Production.SVC.cluster.local", "A", "NOERROR", ["10.96.1.1"]),
    "a headless Service has its pods' addresses": (
        *("headless.production.svc.cluster.local", "A"),
        *("NOERROR", ["10.244.0.1", "10.244.0.2"]),
    ),
    "no IPv6 address is no error, or the name would be taken for missing": (
        *("llama-3-1-8b.production.svc.cluster.local", "AAAA"),
        *("NOERROR", []),
    ),
    "a Service without endpoints": ("empty.production.svc.cluster.local", "A", "NOERROR", []),
    "no such Service": ("nobody.production.svc.cluster.local", "A", "NXDOMAIN", []),
    "no namespace": ("llama-3-1-8b.svc.cluster.local", "A", "NXDOMAIN", []),
    "another domain: there is nothing outside": ("example.com", "A", "NXDOMAIN", []),
    "the cluster's domain without svc": ("llama-3-1-8b.production.cluster.local", "A", "NXDOMAIN", []),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_a_question_is_answered(case: str) -> None:
    name, kind, code, addresses = ANSWERS[case]
    question = dns.message.make_query(name, kind)
    answer = SERVER.answer(question.to_wire(), datagram=True)
    assert answer is not None
    response = dns.message.from_wire(answer)
    assert question.is_response(response)
    assert dns.rcode.to_text(response.rcode()) == code
    assert sorted(item.to_text() for each in response.answer for item in each) == addresses


@pytest.mark.parametrize("noise", [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 40])
def test_noise_is_not_answered_with_an_exception(noise: bytes) -> None:
    answer = SERVER.answer(noise, datagram=True)
    assert answer is None or dns.message.from_wire(answer).rcode() != dns.rcode.NOERROR


def test_an_answer_is_not_answered() -> None:
    response = dns.message.make_response(dns.message.make_query("example.com", "A"))
    assert SERVER.answer(response.to_wire(), datagram=True) is None


def test_a_long_answer_says_over_udp_that_it_is_cut_and_is_whole_over_tcp() -> None:
    async def main() -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = DnsServer(lambda namespace, name: KNOWN.get((namespace, name)), address="127.0.0.1", port=port)
        task = asyncio.create_task(server.run())
        try:
            async with asyncio.timeout(10):
                await server.serving.wait()
                question = dns.message.make_query("many.production.svc.cluster.local", "A").to_wire()
                loop = asyncio.get_running_loop()
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.setblocking(False)
                    client.connect(("127.0.0.1", port))
                    await loop.sock_sendall(client, question)
                    short = dns.message.from_wire(await loop.sock_recv(client, 4096))
                assert short.flags & dns.flags.TC
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(struct.pack("!H", len(question)) + question)
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                whole = dns.message.from_wire(await reader.readexactly(length))
                assert len([item for each in whole.answer for item in each]) == 100
                writer.close()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_pods_ask_the_worlds_dns_and_nobody_else(tmp_path) -> None:
    files = {shown.name: source.read_text() for shown, source in resolver_files(tmp_path / "etc").items()}
    assert "nameserver 10.96.0.10\n" in files["resolv.conf"]
    assert all("hosts: files dns\n" in text for name, text in files.items() if name == "nsswitch.conf")
