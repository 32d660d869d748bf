"""Commands in containers, over WebSocket and TLS, as an API server passes them on."""

import asyncio
import os
import ssl
from pathlib import Path

import aiohttp
import pytest
from certificates import Authority
from kubelet_client import query

from outrider.local.kubelet.handlers import Target
from outrider.local.kubelet.leftovers import MARKER, marked
from outrider.local.kubelet.server import KubeletServer
from outrider.local.kubelet.server.execute import execute
from outrider.local.kubelet.server.statuses import Status
from outrider.local.kubelet.server.streams import ClientStreams, Output, StreamOptions

from ..conftest import PYTHON, until  # noqa: TID252  (absolute, it would be another module)
from .served import API_SERVER, Node, story


def test_a_command_has_the_containers_surroundings_and_its_exit_code_is_told(
    folder: Path, authority: Authority
) -> None:
    async def scenario(node: Node) -> None:
        script = "import os, sys; print(os.environ['COLOUR'], os.getcwd()); print('bad', file=sys.stderr); sys.exit(7)"
        ended = await node.run(PYTHON, "-c", script)
        assert (ended.stdout, ended.stderr, ended.code) == (b"blue /tmp\n", b"bad\n", 7)
        assert (await node.run("echo", "two words", "$HOME; ls")).stdout == b"two words $HOME; ls\n"
        assert (await node.run("true")).status == {"metadata": {}, "status": "Success"}
        assert (await node.run("sh", "-c", "kill -9 $$")).code == 137

    story(folder, authority, scenario)


def test_a_command_that_is_not_there_ends_as_in_a_shell(folder: Path, authority: Authority, tmp_path: Path) -> None:
    async def scenario(node: Node) -> None:
        ended = await node.run("no-such-program")
        assert ended.stderr == b'exec: "no-such-program": executable file not found in $PATH\n'
        assert ended.code == 127
        (tmp_path / "text").write_text("no program")
        ended = await node.run(str(tmp_path / "text"))
        assert (ended.stderr, ended.code) == (f'exec: "{tmp_path}/text": Permission denied\n'.encode(), 126)

    story(folder, authority, scenario)


def test_input_reaches_the_command_and_ends(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        big = os.urandom(3_000_000)
        assert (await node.run("cat", stdin=b"hello")).stdout == b"hello"
        assert (await node.run("wc", "-c", stdin=big)).stdout.strip() == b"3000000"
        assert (await node.run("cat")).stdout == b"", "without input it is at its end from the start"
        # A command that reads none of it still ends.
        assert (await node.run("true", stdin=big)).code == 0
        unwanted = await node.run("sh", "-c", "echo out; echo err >&2", stderr=False)
        assert (unwanted.stdout, unwanted.stderr) == (b"out\n", b"")

    story(folder, authority, scenario)


def test_the_older_protocol_is_spoken_too(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        async with node.open("/exec/default/web/main", "echo", "hi", protocol="v4.channel.k8s.io") as session:
            ended = await session.end()
        assert (ended.stdout, ended.code) == (b"hi\n", 0)

    story(folder, authority, scenario)


def test_with_a_terminal(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        script = "import os; print(os.isatty(0), os.isatty(1)); os.system('tty; stty size'); print(input()[::-1])"
        path = "/exec/default/web/main"
        async with node.open(path, PYTHON, "-c", script, tty=True, stdin=True) as session:
            await session.resize(101, 37)
            await session.until(b"/dev/pts/")
            await session.send(b"olleh\n")
            ended = await session.end()
        assert ended.stdout.startswith(b"True True\r\n/dev/pts/")
        assert b"\r\n37 101\r\n" in ended.stdout
        assert ended.stdout.endswith(b"hello\r\n")
        assert (ended.stderr, ended.code) == (b"", 0)

    story(folder, authority, scenario)


def test_a_terminal_is_told_a_new_size_and_passes_on_ctrl_c(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        script = (
            "import os, signal, time\n"
            "say = lambda *_: os.write(1, b'now %d\\n' % os.get_terminal_size().columns)\n"
            "signal.signal(signal.SIGWINCH, say)\n"
            "print('waiting', flush=True)\n"
            "time.sleep(600)"
        )
        async with node.open("/exec/default/web/main", PYTHON, "-c", script, tty=True, stdin=True) as session:
            await session.until(b"waiting")
            await session.resize(55, 20)
            await session.until(b"now 55")
            await session.send(b"\x03")
            ended = await session.end()
        assert b"KeyboardInterrupt" in ended.stdout
        assert ended.code == 130

    story(folder, authority, scenario)


class SlowClient(ClientStreams):
    """Takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__(StreamOptions(stdout=True, stderr=True))
        self.ready = asyncio.Event()
        self.received = b""

    async def write(self, stream: Output, data: bytes) -> None:
        await self.ready.wait()
        self.received += data

    async def finish(self, status: Status) -> None: ...

    async def ping(self) -> None: ...


def surroundings(folder: Path) -> Target:
    environment = {"PATH": os.environ["PATH"], MARKER: str(folder / "node" / "uid" / "main" / "0")}
    return Target(address="", port=lambda port: port, named_ports={}, env=environment, cwd=folder)


@pytest.mark.parametrize("held", [False, True], ids=["", "and something that got away holds the pipe"])
def test_a_slow_client_gets_all_of_the_output(folder: Path, held: bool) -> None:
    # A daemon without our mark, in a session of its own, is nobody's that we could find.
    daemon = "setsid env -i sleep 3 & " if held else ""

    folder.mkdir()

    async def run() -> None:
        client, never = SlowClient(), asyncio.Event()
        words = ("sh", "-c", f"{daemon}head -c 100000 /dev/zero; touch {folder}/ended")
        drain = 0.01
        running = asyncio.create_task(execute(words, surroundings(folder), client, never.wait(), drain=drain))
        await until((folder / "ended").exists, "the command has written all")
        await asyncio.sleep(10 * drain)
        assert not running.done()
        client.ready.set()
        assert (await running)["status"] == "Success"
        assert len(client.received) == 100_000

    asyncio.run(run())


ENDLESS = "import os, time\nos.fork()\nprint('up', flush=True)\ntime.sleep(600)"
DAEMON = (
    "import os, time\nif os.fork() == 0:\n  os.setsid()\n  print('up', flush=True)\n  time.sleep(600)\ntime.sleep(600)"
)


@pytest.mark.parametrize("script", [ENDLESS, DAEMON], ids=["in its group", "a daemon with a session of its own"])
def test_when_the_client_goes_the_command_goes(folder: Path, authority: Authority, script: str) -> None:
    async def scenario(node: Node) -> None:
        before = set(marked(folder))
        async with node.open("/exec/default/web/main", PYTHON, "-c", script) as session:
            await session.until(b"up")
            assert len(set(marked(folder)) - before) == 2
        await until(lambda: set(marked(folder)) == before, "the command and its child have gone")

    story(folder, authority, scenario)


def test_when_the_container_ends_the_command_ends(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        async with node.open("/exec/default/web/main", PYTHON, "-c", ENDLESS) as session:
            await session.until(b"up")
            await node.world.delete("web", grace_seconds=0)
            assert (await session.end()).code == 137

    story(folder, authority, scenario)


def test_when_the_server_stops_commands_end(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        before = set(marked(folder))
        async with node.open("/exec/default/web/main", PYTHON, "-c", ENDLESS) as session:
            await session.until(b"up")
            await node.server.stop()
            assert set(marked(folder)) == before

    story(folder, authority, scenario)


def test_what_a_command_leaves_behind_goes_with_it(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        before = set(marked(folder))
        ended = await node.run("sh", "-c", "setsid sleep 600 & sleep 600 & echo done")
        assert (ended.stdout, ended.code) == (b"done\n", 0)
        assert set(marked(folder)) == before

    story(folder, authority, scenario)


NO_INPUT = (
    'container "main" has no standard input: containers are local processes here, and nothing keeps their input open. '
    "Attach without -i to see the output, or run a command beside it with kubectl exec -i"
)
REFUSALS: dict[str, tuple[str, list[tuple[str, str]], int, str]] = {
    "a pod that is not here": (
        "/exec/default/other/main",
        query("ls"),
        404,
        "pod other_default does not exist on this node",
    ),
    "a container that is not there": ("/exec/default/web/x", query("ls"), 500, 'container not found ("x")'),
    "no command": ("/exec/default/web/main", query(), 400, "you must specify at least 1 command for the container"),
    "no stream": (
        "/exec/default/web/main",
        [("command", "ls")],
        400,
        "you must specify at least 1 of stdin, stdout, stderr",
    ),
    "no upgrade": (
        "/exec/default/web/main",
        query("ls"),
        400,
        "this is for connections that are upgraded, to a WebSocket or to SPDY/3.1",
    ),
    "attaching to an input that is not there": (
        "/attach/default/web/main",
        query(stdin=True),
        400,
        NO_INPUT,
    ),
}


def test_what_cannot_be_done_is_refused_before_the_upgrade(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        for name, (path, params, status, text) in REFUSALS.items():
            for method in ("GET", "POST"):
                async with node.session.request(method, node.url(path), params=params) as response:
                    assert (response.status, await response.text()) == (status, text), name
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Protocol": "other",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        path = node.url("/exec/default/web/main")
        async with node.session.get(path, params=query("ls"), headers=headers) as response:
            assert response.status == 400
            assert "must be one of v5.channel.k8s.io, v4.channel.k8s.io; the client asks for other" in (
                await response.text()
            )

    story(folder, authority, scenario)


CLIENTS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "the API server": (API_SERVER, (), 200),
    "an administrator": ("ann", ("system:masters",), 200),
    "another node of the cluster": ("system:node:node-2", ("system:nodes",), 403),
    "another user of the cluster": ("bob", (), 403),
}


def test_only_the_api_server_and_administrators_get_in(folder: Path, authority: Authority, tmp_path: Path) -> None:
    async def scenario(node: Node) -> None:
        async def ask(tls: ssl.SSLContext) -> int:
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
                session.get(node.url("/healthz")) as response,
            ):
                await response.read()
                return response.status

        for who, (name, groups, status) in CLIENTS.items():
            assert await ask(authority.client_tls(name, groups)) == status, who
        for context in (authority.client_tls(None), Authority(tmp_path / "other").client_tls(API_SERVER)):
            context.load_verify_locations(authority.certificate)
            with pytest.raises(aiohttp.ClientError):
                await ask(context)

    story(folder, authority, scenario)


def test_a_server_that_lets_anybody_in_is_not_made(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        open_to_all = authority.server_tls(clients=authority)
        open_to_all.verify_mode = ssl.CERT_NONE
        with pytest.raises(ValueError, match="demands client certificates"):
            KubeletServer(node.world.kubelet, node.usage, open_to_all)

    story(folder, authority, scenario)
