"""Logs and attaching, over TLS, as an API server asks for them."""

import asyncio
import contextlib
import re
from pathlib import Path

import pytest
from certificates import Authority

from outrider.kube.api import BadRequest
from outrider.local.kubelet.server.logs import log_options

from ..conftest import PYTHON, until  # noqa: TID252  (absolute, it would be another module)
from .served import Node, story

TALKER = """
import sys, time
for number in range(3):
    print('line', number, flush=True)
sys.exit(1)
"""
LOG = "/containerLogs/default/{}/main"


async def text(node: Node, pod: str, **params: str) -> str:
    async with node.session.get(node.url(LOG.format(pod)), params=params) as response:
        assert response.status == 200, await response.text()
        return await response.text()


async def refusal(node: Node, pod: str, **params: str) -> tuple[int, str]:
    async with node.session.get(node.url(LOG.format(pod)), params=params) as response:
        return response.status, await response.text()


def test_logs_are_given_as_they_are_asked_for(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        await node.world.create("talker", PYTHON, "-c", TALKER, restartPolicy="Never")
        await node.world.phase("talker", "Failed")
        assert await text(node, "talker") == "line 0\nline 1\nline 2\n"
        assert await text(node, "talker", tailLines="1") == "line 2\n"
        assert await text(node, "talker", limitBytes="9") == "line 0\nli"
        assert await text(node, "talker", sinceSeconds="600") == "line 0\nline 1\nline 2\n"
        assert await text(node, "talker", sinceTime="2999-01-01T00:00:00Z") == ""
        assert re.fullmatch(
            r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line \d\n){3}", await text(node, "talker", timestamps="true")
        )
        assert await text(node, "talker", follow="true") == "line 0\nline 1\nline 2\n"

    story(folder, authority, scenario)


def test_the_log_of_the_run_before(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        begun = folder / "begun"
        script = f"if [ -e {begun} ]; then echo second life; exec sleep 600; fi; touch {begun}; echo first life; exit 1"
        await node.world.create("again", "sh", "-c", script)
        # Until the second run has printed something, the log is that of the first, as a kubelet has it, too.
        await node.world.prints("again", "second life")
        assert await text(node, "again") == "second life\n"
        assert await text(node, "again", previous="true") == "first life\n"

    story(folder, authority, scenario)


def test_what_is_not_there_is_told_in_a_kubelets_words(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        assert await refusal(node, "nobody") == (404, "pod nobody_default does not exist on this node")
        assert await refusal(node, "web", previous="true") == (
            400,
            'previous terminated container "main" in pod "web" not found',
        )
        async with node.session.get(node.url("/containerLogs/default/web/other")) as response:
            assert (response.status, await response.text()) == (400, "container other is not valid for pod web")
        await node.world.create("stuck", "no-such-program")
        await node.world.waiting("stuck", "ImagePullBackOff")
        assert await refusal(node, "stuck") == (400, 'container "main" in pod "stuck" is waiting to start')

    story(folder, authority, scenario)


def test_a_log_is_followed_until_the_reader_goes(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        await node.world.create(
            "ticker", PYTHON, "-c", "import time\nwhile True: print('tick', flush=True); time.sleep(0.05)"
        )
        await node.world.ready("ticker")
        async with node.session.get(node.url(LOG.format("ticker")), params={"follow": "true"}) as response:
            received = b""
            while received.count(b"tick") < 5:
                received += await response.content.readany()
        async with node.session.get(node.url(LOG.format("web")), params={"follow": "true"}) as response:
            assert await response.content.readany() == b"begun\n"
            others = len(asyncio.all_tasks())
            response.close()
            # The container is silent: nothing is written that would show that the reader has gone.
            await until(lambda: len(asyncio.all_tasks()) < others, "the server stopped following")

    story(folder, authority, scenario)


BAD_OPTIONS: dict[str, tuple[dict[str, str], str]] = {
    "both kinds of since": (
        {"sinceSeconds": "1", "sinceTime": "2026-11-25T00:00:00Z"},
        "at most one of `sinceTime` or `sinceSeconds` may be specified",
    ),
    "no time": ({"sinceTime": "noon"}, "sinceTime must be a time such as 2026-11-23T12:00:00Z, not 'noon'"),
    "no number": ({"tailLines": "few"}, "tailLines must be a whole number, not 'few'"),
    "a negative number": ({"tailLines": "-1"}, "tailLines must be at least 0, not -1"),
    "nothing at all": ({"limitBytes": "0"}, "limitBytes must be at least 1, not 0"),
    "no flag": ({"follow": "perhaps"}, "follow must be true or false, not 'perhaps'"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_options_that_mean_nothing_are_refused(case: str) -> None:
    query, message = BAD_OPTIONS[case]
    with pytest.raises(BadRequest) as caught:
        log_options(query)
    assert caught.value.message == message


def test_attaching_shows_what_comes_from_then_on(folder: Path, authority: Authority) -> None:
    script = (
        "import sys, time, pathlib\nprint('before', flush=True)\n"
        f"go = pathlib.Path({str(folder / 'go')!r})\n"
        "while not go.exists(): time.sleep(0.02)\n"
        "print('out', flush=True)\nprint('err', file=sys.stderr, flush=True)\n"
    )

    async def scenario(node: Node) -> None:
        await node.world.create("later", PYTHON, "-c", script, restartPolicy="Never")
        await node.world.prints("later", "before")
        async with (
            node.open("/attach/default/later/main") as session,
            node.open("/attach/default/later/main", tty=True) as terminal,
        ):
            # The server has looked where the log ends before it reads on: only then may more be written.
            await until(lambda: _followers(folder) >= 2, "both are attached")
            (folder / "go").touch()
            ended, shown = await session.end(), await terminal.end()
        assert (ended.stdout, ended.stderr, ended.status["status"]) == (b"out\n", b"err\n", "Success")
        assert sorted(shown.stdout.split()) == [b"err", b"out"]
        assert shown.stderr == b""

    story(folder, authority, scenario)


def _followers(folder: Path) -> int:
    """How often log files of the pod that prints later are open in this process."""
    opened = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            opened += str(entry.readlink()).startswith(str(folder)) and entry.readlink().suffix == ".log"
    return opened


def test_who_is_attached_may_go(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        async with node.open("/attach/default/web/main"):
            await until(lambda: _followers(folder) == 1, "attached")
        await until(lambda: _followers(folder) == 0, "no longer attached")

    story(folder, authority, scenario)


def test_the_pods_of_the_node(folder: Path, authority: Authority) -> None:
    async def scenario(node: Node) -> None:
        async with node.session.get(node.url("/pods")) as response:
            pods = await response.json()
        assert (pods["kind"], [pod["metadata"]["name"] for pod in pods["items"]]) == ("PodList", ["web"])

    story(folder, authority, scenario)
