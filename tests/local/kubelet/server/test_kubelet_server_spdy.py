"""SPDY/3.1: frames to bytes and back, and commands and connections carried by it."""

import asyncio
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from hypothesis import given, settings
from hypothesis import strategies as st
from kubelet_client import SpdySession, open_spdy, query
from yarl import URL

from outrider.local.kubelet.leftovers import marked
from outrider.local.kubelet.server.pipe import Pipe
from outrider.local.kubelet.server.spdy_frames import (
    DICTIONARY,
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    Ping,
    Reset,
    SpdyError,
    SynReply,
    SynStream,
)

from ..conftest import PYTHON, until  # noqa: TID252  (absolute, it would be another module)
from .served import API_SERVER, Node, story

streams = st.integers(1, 2**31 - 1)
numbers = st.integers(0, 2**32 - 1)
names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
headers = st.dictionaries(names, st.text(max_size=40).filter(lambda text: text.isprintable()), max_size=6)
frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(SynStream, streams, headers, st.booleans()),
    st.builds(SynReply, streams, headers, st.booleans()),
    st.builds(Data, streams, st.binary(max_size=300), st.booleans()),
    st.builds(Reset, streams, numbers),
    st.builds(Ping, numbers),
    st.builds(GoAway, streams, numbers),
)


@given(st.lists(frames, max_size=12), st.data())
def test_what_is_written_is_read_however_it_is_cut(sent: list[Frame], data: st.DataObject) -> None:
    writer, reader = FrameWriter(), FrameReader()
    wire = b"".join(writer.encode(frame) for frame in sent)
    received: list[Frame] = []
    while wire:
        length = data.draw(st.integers(1, len(wire)))
        received += reader.feed(wire[:length])
        wire = wire[length:]
    assert received == sent


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_garbage_is_refused_and_nothing_else_happens(garbage: bytes) -> None:
    try:
        list(FrameReader().feed(garbage))
    except SpdyError:
        return


def test_the_dictionary_is_the_published_one() -> None:
    # Every SPDY/3 header block begins so: zlib's header, then the Adler-32 of the dictionary.
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_headers_that_would_fill_the_memory_are_refused() -> None:
    block = FrameWriter().encode(SynStream(1, {"x": "y" * 1_000_000}))
    with pytest.raises(SpdyError, match="headers of more than 65536 bytes"):
        list(FrameReader().feed(block))


KINDS_THAT_ARE_SKIPPED = {
    "settings": bytes.fromhex("80030004 00000004 00000000"),
    "window update": bytes.fromhex("80030009 00000008 00000001 00001000"),
    "a kind that nobody knows": bytes.fromhex("800300ff 00000001 00"),
}


@pytest.mark.parametrize("kind", KINDS_THAT_ARE_SKIPPED)
def test_frames_that_mean_nothing_here_are_skipped(kind: str) -> None:
    wire = KINDS_THAT_ARE_SKIPPED[kind] + FrameWriter().encode(Ping(1))
    assert list(FrameReader().feed(wire)) == [Ping(1)]


def test_another_version_is_no_spdy_of_ours() -> None:
    with pytest.raises(SpdyError, match="SPDY version 2"):
        list(FrameReader().feed(bytes.fromhex("80020006 00000004 00000001")))


def test_a_pipe_holds_up_its_sender_until_it_is_read() -> None:
    async def scenario() -> None:
        pipe = Pipe(limit=4)
        await pipe.feed(b"abc")
        sending = asyncio.create_task(pipe.feed(b"defg"))
        await asyncio.sleep(0)
        assert not sending.done()
        assert await pipe.read() == b"abcdefg"
        await sending
        held = asyncio.create_task(pipe.feed(b"x" * 10))
        await asyncio.sleep(0)
        pipe.discard()
        await held
        await pipe.feed(b"x" * 10)
        assert await pipe.read() == b""

    asyncio.run(scenario())


PATH = "/exec/default/web/main"


V4 = "v4.channel.k8s.io"


async def opened(
    node: Node, authority: Authority, *command: str, path: str = PATH, protocol: str = V4, **wanted: bool
) -> SpdySession:
    target = str(URL(path).with_query(query(*command, **wanted))) if command else path
    answer, session = await open_spdy(node.server.port, authority.client_tls(API_SERVER), target, protocol)
    assert answer.splitlines()[0] == "HTTP/1.1 101 Switching Protocols", answer
    assert f"X-Stream-Protocol-Version: {protocol}" in answer
    return session


class Commanded:
    """A command over SPDY, with the streams that kubectl opens."""

    def __init__(self, session: SpdySession, *kinds: str) -> None:
        self.session = session
        self.numbers = {kind: session.open(streamtype=kind) for kind in kinds}

    def output(self, kind: str) -> bytes:
        return self.session.received[self.numbers[kind]]

    async def end(self) -> dict[str, Any]:
        outputs = {self.numbers[kind] for kind in ("error", "stdout", "stderr") if kind in self.numbers}
        await self.session.until(lambda: outputs <= self.session.closed)
        status: dict[str, Any] = json.loads(self.output("error"))
        self.session.writer.close()
        return status


def test_a_command_over_spdy(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        script = "import sys; print(sys.stdin.read()[::-1]); print('bad', file=sys.stderr); sys.exit(7)"
        session = await opened(node, authority, PYTHON, "-c", script, stdin=True)
        command = Commanded(session, "error", "stdin", "stdout", "stderr")
        session.send(command.numbers["stdin"], b"olleh", fin=True)
        status = await command.end()
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
        assert (command.output("stdout"), command.output("stderr")) == (b"hello\n", b"bad\n")
        assert session.replied == set(command.numbers.values())

    story(folder, authority, scenario)


def test_a_terminal_over_spdy(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        session = await opened(node, authority, "sh", tty=True, stdin=True)
        command = Commanded(session, "error", "stdin", "stdout", "resize")
        session.send(command.numbers["resize"], b'{"Width":91,"Height":17}\n{"Width":92,')
        session.send(command.numbers["resize"], b'"Height":18}\n')
        wait = b"until [ \"`stty size`\" = '18 92' ]; do sleep 0.02; done; "
        session.send(command.numbers["stdin"], wait + b"echo si''zed; exit 3\n")
        assert (await command.end())["details"]["causes"][0]["message"] == "3"
        assert b"sized" in command.output("stdout")

    story(folder, authority, scenario)


def test_when_the_spdy_client_goes_the_command_goes(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        before = set(marked(folder))
        session = await opened(node, authority, "sh", "-c", "echo up; sleep 600")
        command = Commanded(session, "error", "stdout", "stderr")
        await session.until(lambda: command.output("stdout") == b"up\n")
        assert set(marked(folder)) > before
        session.writer.transport.abort()
        await until(lambda: set(marked(folder)) == before, "the command has gone")

    story(folder, authority, scenario)


def test_a_client_of_another_protocol_is_refused(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        target = str(URL(PATH).with_query(query("ls")))
        tls = authority.client_tls(API_SERVER)
        answer, session = await open_spdy(node.server.port, tls, target, "v9.channel.k8s.io")
        assert answer.startswith("HTTP/1.1 403")
        reason = (await session.reader.readuntil(b"server accepts [v4.channel.k8s.io]")).decode()
        assert "client supports ['v9.channel.k8s.io']" in reason
        session.writer.close()

    story(folder, authority, scenario)


ECHO = """
import os, socket, threading
def serve(connection):
    while data := connection.recv(65536):
        connection.sendall(data.upper())
    connection.sendall(b'bye')
    connection.close()
listener = socket.create_server((os.environ['POD_IP'], 8080))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
"""


async def echo_pod(node: Node) -> None:
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container = {"env": [address], "ports": [{"containerPort": 8080}], "readinessProbe": {"tcpSocket": {"port": 8080}}}
    await node.world.create("echo", PYTHON, "-c", ECHO, container=container)
    await node.world.ready("echo")


def pair(session: SpdySession, number: int, port: int = 8080) -> tuple[int, int]:
    """The two streams of one connection, as kubectl opens them."""
    about = f"{number}"
    error = session.open(streamtype="error", port=f"{port}", requestid=about, fin=True)
    return error, session.open(streamtype="data", port=f"{port}", requestid=about)


async def exchange(session: SpdySession) -> None:
    """Three connections to the echoing pod, and one to a port that nobody serves."""
    connections = [pair(session, number) for number in range(3)]
    big = b"x" * 500_000
    for number, (_, data) in enumerate(connections):
        session.send(data, b"hello %d" % number)
    session.send(connections[0][1], big)
    await session.until(lambda: len(session.received[connections[0][1]]) == len(big) + 7)
    for _, data in connections:
        session.send(data, b"", fin=True)
    await session.until(lambda: {number for both in connections for number in both} <= session.closed)
    assert session.received[connections[0][1]] == b"HELLO 0" + big.upper() + b"bye"
    assert [session.received[data] for _, data in connections[1:]] == [b"HELLO 1bye", b"HELLO 2bye"]
    error, data = pair(session, 9, port=9)
    await session.until(lambda: {error, data} <= session.closed)
    assert b":9 of the pod: " in session.received[error]
    twins = [session.open(streamtype="data", requestid="5", port="8080") for _ in range(2)]
    await session.until(lambda: set(twins) <= session.reset)


def test_port_forward_over_spdy(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        await echo_pod(node)
        session = await opened(node, authority, path="/portForward/default/echo", protocol="portforward.k8s.io")
        await exchange(session)
        session.writer.close()

    story(folder, authority, scenario)


class _WebSocketTransport:
    """A WebSocket, with as much of a stream's reader and writer as a SPDY session needs."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.sending: asyncio.Queue[bytes] = asyncio.Queue()

    def write(self, data: bytes) -> None:
        self.sending.put_nowait(data)

    async def send(self) -> None:
        while True:
            await self.socket.send_bytes(await self.sending.get())

    async def read(self, _: int) -> bytes:
        message = await self.socket.receive()
        return message.data if isinstance(message.data, bytes) else b""


def test_port_forward_inside_a_websocket(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        await echo_pod(node)
        protocol = "SPDY/3.1+portforward.k8s.io"
        url = node.url("/portForward/default/echo")
        async with node.session.ws_connect(url, protocols=[protocol]) as socket:
            assert socket.protocol == protocol
            transport: Any = _WebSocketTransport(socket)
            sending = asyncio.create_task(transport.send())
            await exchange(SpdySession(transport, transport))
            sending.cancel()

    story(folder, authority, scenario)


def test_a_port_of_a_pod_that_is_not_here(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        async with node.session.post(node.url("/portForward/default/nobody")) as response:
            assert (response.status, await response.text()) == (404, "pod nobody_default does not exist on this node")
        async with node.session.post(node.url("/portForward/default/web")) as response:
            assert response.status == 400

    story(folder, authority, scenario)
