"""Runs under real shims."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from outrider.local.kubelet import shim
from outrider.local.kubelet.leftovers import kill_leftovers, marked
from outrider.local.kubelet.logfiles import log_files
from outrider.local.kubelet.runtime import Run, RunExit, RunSpec, Runtime, is_locked, read_run

from .conftest import until

ENV = {"PATH": os.environ["PATH"]}


async def start(folder: Path, *argv: str, **options: Any) -> Run:
    spec = RunSpec(argv=argv, env=options.pop("env", ENV), cwd=options.pop("cwd", Path("/")), **options)
    return await Runtime().start(folder, spec)


async def shell(folder: Path, script: str, **options: Any) -> Run:
    return await start(folder, "sh", "-c", script, **options)


def output(run: Run) -> list[str]:
    lines = [line for path in log_files(run.folder) for line in path.read_text().splitlines()]
    return [" ".join(line.split(" ")[1:]) for line in lines]


def end_of(folder: Path, script: str, **options: Any) -> tuple[RunExit, Run]:
    async def scenario() -> tuple[RunExit, Run]:
        run = await shell(folder, script, **options)
        return await run.wait(), run

    return asyncio.run(scenario())


ENDINGS = {
    "a clean end": ("exit 0", 0, 0, "Completed"),
    "an exit code": ("exit 7", 7, 0, "Error"),
    "a signal": ("kill -SEGV $$", 139, 11, "Error"),
    "killed": ("kill -9 $$", 137, 9, "Error"),
}


def test_how_a_run_ends(folder: Path) -> None:
    for number, (sentence, (script, code, number_of_signal, reason)) in enumerate(ENDINGS.items()):
        ending, _ = end_of(folder / str(number), script)
        assert (ending.exit_code, ending.signal, ending.reason) == (code, number_of_signal, reason), sentence
        assert ending.started_at <= ending.finished_at, sentence


def test_a_program_that_cannot_be_started_says_why(folder: Path, tmp_path: Path) -> None:
    async def scenario(number: int, *argv: str, cwd: Path = Path("/")) -> RunExit:
        return await (await start(folder / str(number), *argv, cwd=cwd)).wait()

    missing = asyncio.run(scenario(1, "no-such-program"))
    assert (missing.exit_code, missing.reason) == (128, "StartError")
    assert missing.message == 'exec: "no-such-program": No such file or directory'
    (tmp_path / "plain").write_text("")
    assert "Permission denied" in asyncio.run(scenario(2, str(tmp_path / "plain"))).message
    assert "working directory" in asyncio.run(scenario(3, "true", cwd=tmp_path / "nowhere")).message


def test_output_is_kept_in_the_cri_format(folder: Path) -> None:
    _, run = end_of(folder, "echo one; echo two >&2; printf 'no end'")
    assert sorted(output(run)) == ["stderr F two", "stdout F no end", "stdout F one"]
    first = log_files(run.folder)[0].read_text().splitlines()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z std(out|err) F \w+", first)


def test_a_long_line_is_cut_into_parts_and_nothing_is_lost(folder: Path) -> None:
    ending, run = end_of(folder, f"{sys.executable} -c \"print('x' * 40000); print('y')\"")
    assert ending.exit_code == 0
    parts = [line.split(" ", 2) for line in output(run)]
    assert [tag for _, tag, _ in parts] == ["P", "P", "F", "F"]
    assert "".join(text for *_, text in parts[:3]) == "x" * 40000


def test_the_log_is_rotated_and_the_oldest_files_go(folder: Path) -> None:
    _, run = end_of(folder, "for i in $(seq 1 200); do echo line $i; done", log_bytes=1000, log_files=3)
    files = log_files(run.folder)
    assert len(files) == 3
    assert files[0].stem != "000000"
    assert all(path.stat().st_size < 1100 for path in files)
    assert output(run)[-1] == "stdout F line 200"


def test_a_program_gets_its_environment_and_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/secret")
    _, run = end_of(folder, "env", env=ENV | {"MINE": "1"})
    names = {line.removeprefix("stdout F ").partition("=")[0] for line in output(run)}
    assert names - {"PWD", "_", "SHLVL"} == {"PATH", "MINE", "OUTRIDER_RUN"}


def test_a_program_has_its_own_group_default_signals_and_no_other_files(folder: Path) -> None:
    code = (
        "import os, signal; print(os.getpgrp() == os.getpid(), os.getppid() != os.getpid(), "
        "signal.getsignal(signal.SIGHUP) == signal.SIG_DFL, sorted(os.listdir('/proc/self/fd'))[:3], "
        "len(os.listdir('/proc/self/fd')))"
    )
    _, run = end_of(folder, f'exec {sys.executable} -I -S -c "{code}"')
    # The fourth is the one that lists.
    assert output(run) == ["stdout F True True True ['0', '1', '2'] 4"]


async def _hold(script: str, folder: Path, act: Callable[[Run], Awaitable[Any]]) -> RunExit:
    """Run the script until it has printed `ready`, do something to it, and wait for its end."""
    run = await shell(folder, script)
    await until(lambda: "stdout F ready" in output(run), "ready")
    await act(run)
    return await run.wait()


def test_sigterm_reaches_the_program_alone(folder: Path) -> None:
    """A server must be able to drain what it has given to its workers."""
    script = "trap 'kill -0 $worker && echo worker lives; exit 3' TERM; sleep 60 & worker=$!; echo ready; wait"

    async def terminate(run: Run) -> None:
        run.terminate()

    ending = asyncio.run(_hold(script, folder, terminate))
    assert ending.exit_code == 3
    run_log = [line for path in log_files(folder) for line in path.read_text().splitlines()]
    assert run_log[-1].endswith("worker lives")


def test_when_the_program_ends_its_children_and_grandchildren_end(folder: Path) -> None:
    script = "sleep 61 & (sleep 62 & sleep 63) & setsid sleep 64 & echo ready; sleep 0.1; exit 4"
    ending, _ = end_of(folder, script)
    assert ending.exit_code == 4
    assert ending.reaped >= 4
    assert marked(folder) == []


def test_a_program_that_ignores_sigterm_is_killed_with_all_it_started(folder: Path) -> None:
    async def both(run: Run) -> None:
        run.terminate()
        await until(lambda: "stdout F no" in output(run))
        assert run.exit is None
        run.kill()

    script = "trap 'echo no' TERM; setsid sleep 65 & echo ready; while :; do sleep 0.05; done"
    ending = asyncio.run(_hold(script, folder, both))
    assert (ending.exit_code, ending.signal) == (137, 9)
    assert marked(folder) == []


@pytest.mark.parametrize("shim_too", [True, False], ids=["by nobody", "by the node"])
def test_an_end_that_cannot_be_written_down_keeps_nobody_waiting(folder: Path, shim_too: bool) -> None:
    """As on a full disk: `outrider down` once waited for it for ever."""

    async def scenario() -> RunExit:
        run = await shell(folder, "sleep 68")
        (folder / "exit.tmp").mkdir()
        if shim_too:
            (folder / "exit.json.tmp").mkdir()
        run.stopping = True
        run.terminate()
        async with asyncio.timeout(30):
            return await run.wait()

    assert asyncio.run(scenario()).intended
    assert marked(folder) == []


def test_if_the_shim_is_killed_nothing_is_left_and_the_end_is_unknown(folder: Path) -> None:
    async def kill_shim(run: Run) -> None:
        os.kill(run.info.shim, signal.SIGKILL)

    script = "sleep 66 & setsid sleep 67 & echo ready; wait"
    ending = asyncio.run(_hold(script, folder, kill_shim))
    assert (ending.exit_code, ending.reason) == (137, "ContainerStatusUnknown")
    assert ending.intended
    assert marked(folder) == []
    assert json.loads((folder / "exit.json").read_text())["reason"] == "ContainerStatusUnknown"


def test_what_hides_its_environment_is_found_by_its_group_and_ends_with_the_rest(folder: Path) -> None:
    """As vLLM's engine does, whose title is written over its environment."""
    hidden: list[int] = []

    async def kill_shim(run: Run) -> None:
        hidden.append(int(next(line for line in output(run) if "hidden" in line).split()[-1]))
        assert hidden[0] in marked(folder)
        assert hidden[0] in marked(folder.parent)
        os.kill(run.info.shim, signal.SIGKILL)

    ending = asyncio.run(_hold("env -i sleep 68 & echo hidden $!; echo ready; wait", folder, kill_shim))
    assert ending.reason == "ContainerStatusUnknown"
    assert not _lives(hidden[0])


def test_a_group_of_an_earlier_boot_or_of_another_session_is_not_ours(folder: Path) -> None:
    folder.mkdir()
    stranger = subprocess.Popen(["env", "-i", "sleep", "69"], start_new_session=True)
    try:
        start = shim.start_time(stranger.pid)
        boot, _, ticks = start.partition(":")
        records = {
            "another boot": {"shim": stranger.pid, "pid": stranger.pid, "start": f"another-boot:{ticks}"},
            "another session": {"shim": 1, "pid": stranger.pid, "start": start},
            "an older process": {"shim": stranger.pid, "pid": stranger.pid, "start": f"{boot}:{int(ticks) + 1}"},
            "the same": {"shim": stranger.pid, "pid": stranger.pid, "start": start},
        }
        for sentence, record in records.items():
            (folder / "run.json").write_text(json.dumps(record))
            assert (stranger.pid in marked(folder)) == (sentence == "the same"), sentence
    finally:
        stranger.kill()
        stranger.wait()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_shim_outlives_who_started_it_and_the_run_is_adopted(folder: Path) -> None:
    """A process of ours starts a run and is killed; another one takes it over and learns its exit code."""
    code = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from outrider.local.kubelet.runtime import Runtime, RunSpec\n"
        "async def main():\n"
        "    spec = RunSpec(argv=('sh', '-c', sys.argv[2]), env={'PATH': os.environ['PATH']}, cwd=Path('/'))\n"
        "    await Runtime().start(Path(sys.argv[1]), spec)\n"
        "    os.killpg(os.getpgrp(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    script = f"echo ready; while [ ! -e {folder}/go ]; do sleep 0.02; done; echo late words; exit 5"
    host = subprocess.run([sys.executable, "-c", code, str(folder), script], start_new_session=True, check=False)
    assert host.returncode == -signal.SIGKILL

    async def adopt() -> RunExit:
        run = await Runtime().adopt(folder)
        assert run is not None
        (folder / "go").touch()
        return await run.wait()

    assert asyncio.run(adopt()).exit_code == 5
    assert "late words" in log_files(folder)[-1].read_text()
    assert not is_locked(folder)


def test_a_run_that_ended_meanwhile_is_not_adopted_but_its_exit_code_is_known(folder: Path) -> None:
    end_of(folder, "exit 6")

    async def look() -> tuple[Run | None, RunExit | None]:
        return await Runtime().adopt(folder), await Runtime().settle(folder)

    run, ending = asyncio.run(look())
    assert run is None
    assert ending is not None
    assert ending.exit_code == 6


def test_a_recycled_process_number_is_never_signalled(folder: Path) -> None:
    """A stale run.json that names a process of somebody else must not lead to it."""
    folder.mkdir(parents=True)
    with subprocess.Popen(["sleep", "68"]) as stranger:
        stale = {"shim": stranger.pid, "pid": stranger.pid, "start": "another boot:1", "startedAt": 1.0}
        (folder / "run.json").write_text(json.dumps(stale))
        (folder / "lock").touch()

        async def look() -> tuple[Run | None, RunExit | None]:
            return await Runtime().adopt(folder), await Runtime().settle(folder)

        run, ending = asyncio.run(look())
        assert run is None
        assert ending is not None
        assert ending.reason == "ContainerStatusUnknown"
        assert kill_leftovers(folder) == 0
        assert stranger.poll() is None
        stranger.kill()


def test_without_process_descriptors_it_works_by_looking_again_and_again(folder: Path) -> None:
    """As on macOS."""

    async def scenario() -> list[RunExit]:
        script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done"
        runtime = Runtime(poll=True)
        endings = []
        for name, act in (("polite", Run.terminate), ("killed", Run.kill)):
            spec = RunSpec(argv=("sh", "-c", script), env=ENV, cwd=Path("/"))
            (await runtime.start(folder / name, spec)).abandon()
            run = await runtime.adopt(folder / name)
            assert run is not None
            await until(lambda run=run: "stdout F ready" in output(run))
            act(run)
            endings.append(await run.wait())
        return endings

    polite, killed = asyncio.run(scenario())
    assert (polite.exit_code, killed.exit_code) == (3, 137)


def test_the_shim_ignores_the_signals_of_a_closing_terminal(folder: Path) -> None:
    async def close_terminal(run: Run) -> None:
        os.kill(run.info.shim, signal.SIGHUP)
        os.kill(run.info.shim, signal.SIGINT)
        (folder / "go").touch()

    script = f"echo ready; while [ ! -e {folder}/go ]; do sleep 0.02; done; exit 8"
    assert asyncio.run(_hold(script, folder, close_terminal)).exit_code == 8


def test_a_half_written_description_starts_nothing(folder: Path) -> None:
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        shim_process = subprocess.run(
            [sys.executable, "-I", "-S", shim.__file__, str(lock.fileno())],
            input=b'{"folder": "' + str(folder).encode(),
            pass_fds=[lock.fileno()],
            capture_output=True,
            check=False,
        )
    assert shim_process.returncode == 0
    assert read_run(folder) is None


def test_start_times_tell_processes_apart() -> None:
    own = shim.start_time(os.getpid())
    assert own
    assert own == shim.start_time(os.getpid())
    with subprocess.Popen(["sleep", "69"]) as other:
        assert shim.start_time(other.pid) not in ("", own)
        other.kill()
