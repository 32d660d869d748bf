"""Log files as the shim writes them, read as `kubectl logs` asks for them."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.api.meta import parse_time
from outrider.kube.api import ApiError, BadRequest
from outrider.kube.clock import SystemClock
from outrider.local.kubelet import PodLogs
from outrider.local.kubelet.layout import PodFolder, PodRecord
from outrider.local.kubelet.logs import read_log
from outrider.local.kubelet.runtime import RunExit, RunSpec, Runtime
from outrider.local.kubelet.shim import Log
from outrider.local.store import LogOptions

from .conftest import until


def write(run: Path, *files: str) -> None:
    """Log files: each line `SECOND TEXT`, a text that ends in `\\` being continued in the next line."""
    (run / "log").mkdir(parents=True)
    for number, lines in enumerate(files):
        content = ""
        for line in lines.splitlines():
            second, _, text = line.partition(" ")
            tag = "P" if text.endswith("\\") else "F"
            content += f"2026-11-23T10:00:{second}.000000000Z stdout {tag} {text.removesuffix(chr(92))}\n"
        (run / "log" / f"{number:06d}.log").write_text(content)


def read(run: Path, **options: Any) -> str:
    async def collect() -> bytes:
        return b"".join([chunk async for chunk in read_log(run, LogOptions(**options), SystemClock())])

    return asyncio.run(collect()).decode()


FILES = ("01 one\n02 two\n", "03 three\n04 fo\\\n04 ur\n", "05 five\n06\n")
ALL = "one\ntwo\nthree\nfour\nfive\n\n"
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "everything": ({}, ALL),
    "no lines": ({"tail_lines": 0}, ""),
    "the last line": ({"tail_lines": 1}, "\n"),
    "the last two": ({"tail_lines": 2}, "five\n\n"),
    "the last three: a line in parts is one line": ({"tail_lines": 3}, "four\nfive\n\n"),
    "the last four, across two files": ({"tail_lines": 4}, "three\nfour\nfive\n\n"),
    "the last six, across all": ({"tail_lines": 6}, ALL),
    "more than there are": ({"tail_lines": 600}, ALL),
    "since a moment": ({"since_time": parse_time("2026-11-23T10:00:04Z")}, "four\nfive\n\n"),
    "since a moment to come": ({"since_seconds": -(10**8)}, ""),
    "since long ago": ({"since_seconds": 10**9}, ALL),
    "with times": (
        {"tail_lines": 3, "timestamps": True},
        "2026-11-23T10:00:04.000000000Z four\n2026-11-23T10:00:05.000000000Z five\n2026-11-23T10:00:06.000000000Z \n",
    ),
}


def test_what_is_read(tmp_path: Path) -> None:
    write(tmp_path, *FILES)
    for sentence, (options, expected) in CASES.items():
        assert read(tmp_path, **options) == expected, sentence


def test_a_run_without_output_has_an_empty_log(tmp_path: Path) -> None:
    write(tmp_path, "")
    assert read(tmp_path) == ""
    assert read(tmp_path, tail_lines=3) == ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    st.lists(st.text(alphabet="ab é", max_size=12), max_size=30),
    st.integers(0, 40),
    st.integers(60, 400),
)
def test_the_tail_is_always_the_end_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], count: int, file_bytes: int
) -> None:
    run = tmp_path_factory.mktemp("run")
    log = Log(str(run / "log"), file_bytes, 100)
    for line in lines:
        log.write("stdout", [(b"F", line.encode())])
    assert read(run) == "".join(f"{line}\n" for line in lines)
    tail = lines[-count:] if count else []
    assert read(run, tail_lines=count) == "".join(f"{line}\n" for line in tail)


@pytest.mark.parametrize("tail", [None, 2])
def test_what_is_printed_while_the_log_is_read_is_not_part_of_it(tmp_path: Path, tail: int | None) -> None:
    """A container that prints without a pause would be read for ever, and its last two lines would be three."""
    log = Log(str(tmp_path / "log"), 100, 100)
    for number in range(5):
        log.write("stdout", [(b"F", b"%d" % number)])

    async def collect() -> bytes:
        found = b""
        async for chunk in read_log(tmp_path, LogOptions(tail_lines=tail), SystemClock()):
            found += chunk
            log.write("stdout", [(b"F", b"printed meanwhile")] * 3)  # beyond the end of this file, too
            assert len(found) < 100, "it does not end"
        return found

    assert asyncio.run(collect()) == (b"0\n1\n2\n3\n4\n" if tail is None else b"3\n4\n")


def pod(folder: Path, *, policy: str = "Always", containers: tuple[str, ...] = ("main",), name: str = "a") -> PodFolder:
    created = PodFolder(folder / "node-1" / f"uid-{name}")
    created.write(
        PodRecord(
            namespace="default",
            name=name,
            uid=f"uid-{name}",
            containers=list(containers),
            restart_policy=policy,
            begun=1,
        )
    )
    return created


def end(run: Path, code: int) -> None:
    (run / "exit.json").write_bytes(msgspec.json.encode(RunExit(exit_code=code)))


def logs_of(folder: Path, container: str = "main", **options: Any) -> str:
    async def collect() -> bytes:
        source = PodLogs(folder)("default", "a", container, LogOptions(**options))
        return b"".join([chunk async for chunk in source])

    return asyncio.run(collect()).decode()


def test_the_current_and_the_previous_run(tmp_path: Path) -> None:
    created = pod(tmp_path)
    for attempt in (3, 4):
        write(created.run("main", attempt), f"01 run {attempt}\n")
    end(created.run("main", 3), 1)
    assert logs_of(tmp_path) == "run 4\n"
    assert logs_of(tmp_path, "") == "run 4\n"
    assert logs_of(tmp_path, previous=True) == "run 3\n"
    end(created.run("main", 4), 1)
    assert logs_of(tmp_path, previous=True) == "run 4\n"


def test_no_more_bytes_than_asked_for(tmp_path: Path) -> None:
    write(pod(tmp_path).run("main", 0), "01 0123456789\n")
    assert logs_of(tmp_path, limit_bytes=4) == "0123"
    assert logs_of(tmp_path, limit_bytes=400) == "0123456789\n"


ERRORS: dict[str, tuple[tuple[str, ...], str, dict[str, Any], str]] = {
    "no such container": (("main",), "nope", {}, "container nope is not valid for pod a"),
    "several containers, none named": (
        ("main", "proxy"), "", {}, "a container name must be specified for pod a, choose one of: [main proxy]",
    ),
    "not begun": (("main", "proxy"), "proxy", {}, 'container "proxy" in pod "a" is waiting to start'),
    "no previous run": (
        ("main",), "main", {"previous": True}, 'previous terminated container "main" in pod "a" not found',
    ),
}  # fmt: skip


def test_what_cannot_be_had_is_refused_in_the_kubelets_words(tmp_path: Path) -> None:
    for number, (sentence, (containers, container, options, message)) in enumerate(ERRORS.items()):
        folder = tmp_path / str(number)
        write(pod(folder, containers=containers).run("main", 0), "01 x\n")
        with pytest.raises(ApiError) as caught:
            logs_of(folder, container, **options)
        assert isinstance(caught.value, BadRequest), sentence
        assert caught.value.message == message, sentence


def test_a_run_that_will_not_be_followed_by_another_is_not_a_previous_one(tmp_path: Path) -> None:
    created = pod(tmp_path, policy="Never")
    write(created.run("main", 0), "01 x\n")
    end(created.run("main", 0), 1)
    with pytest.raises(BadRequest, match="previous terminated container"):
        logs_of(tmp_path, previous=True)


def test_following_crosses_rotations_and_ends_with_the_container(folder: Path) -> None:
    """Not a line is lost or doubled while files are cut, and the oldest are removed, under the reader's eyes."""
    count = 3000

    async def scenario() -> list[str]:
        code = f"import time\nfor i in range({count}):\n    print(i, flush=True)\n    if i % 50 == 0: time.sleep(0.002)"
        spec = RunSpec(
            argv=(sys.executable, "-I", "-S", "-c", code), env={}, cwd=Path("/"), log_bytes=4000, log_files=1000
        )
        run = await Runtime().start(folder, spec)
        chunks = [chunk async for chunk in read_log(folder, LogOptions(follow=True), SystemClock())]
        assert (await run.wait()).exit_code == 0
        return b"".join(chunks).decode().splitlines()

    assert asyncio.run(scenario()) == [str(number) for number in range(count)]


def test_following_shows_lines_as_they_come(folder: Path) -> None:
    async def scenario() -> list[bytes]:
        spec = RunSpec(
            argv=("sh", "-c", f"echo one; while [ ! -e {folder}/go ]; do sleep 0.02; done; echo two"),
            env={"PATH": "/usr/bin:/bin"},
            cwd=Path("/"),
        )
        run = await Runtime().start(folder, spec)
        chunks: list[bytes] = []

        async def follow() -> None:
            async for chunk in read_log(folder, LogOptions(follow=True), SystemClock()):
                chunks.append(chunk)  # noqa: PERF401  (each as it comes)

        following = asyncio.create_task(follow())
        await until(lambda: chunks == [b"one\n"])
        (folder / "go").touch()
        await following
        await run.wait()
        return chunks

    assert asyncio.run(scenario()) == [b"one\n", b"two\n"]


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), 1000, 3)
    log.write("stdout", [(b"F", b"before")])
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("wb", buffering=0) as handle:
        good, log.descriptor = log.descriptor, handle.fileno()
        log.write("stdout", [(b"F", b"lost")])
        log.descriptor = good
    log.write("stdout", [(b"F", b"after")])
    assert read(tmp_path) == "before\nafter\n"
