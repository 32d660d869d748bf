"""What the commands that start and end local worlds share."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from outrider.cli.errors import CliError, Exit
from outrider.cli.progress import Progress
from outrider.local.folder import DEFAULT_WORLD, WorldFolder, WorldInfo, WorldInUse

_START_TIMEOUT_SECONDS = 120.0
_GIVE_UP_SECONDS = 30.0
"""How long a world that nobody waits for any more may take to end."""


def world_folder(name: str) -> WorldFolder:
    """The folder of a world that was named on the command line.

    Raises:
        CliError: the name could lead out of the data folder.
    """
    if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise CliError(f"--world {name!r}: use letters, digits, - and _", exit_code=Exit.USAGE)
    return WorldFolder(name)


def world_flag(name: str) -> str:
    """The option that names a world in a command to paste; nothing for the default one."""
    return "" if name == DEFAULT_WORLD else f" --world {name}"


def print_banner(info: WorldInfo, seconds: float, *, detached: bool) -> None:
    """What a user needs to know of a world that came up within `seconds`."""
    gpus = info.nodes * info.gpus_per_node
    base = f" on Kubernetes {info.kubernetes}" if info.kubernetes else ""
    print(
        f"The local world {info.name!r} is up{base} in {seconds:.1f} s: "
        f"{info.nodes} {'node' if info.nodes == 1 else 'nodes'}, {gpus} GPUs (simulated), engine {info.engine}."
    )
    if info.kubernetes:
        print(f"  up after    {', '.join(f'{what} {when:.1f} s' for what, when in info.seconds.items())}")
    for warning in info.warnings:
        print(f"warning: {warning}", file=sys.stderr, flush=True)
    print(f"  gateway     {info.gateway_url}")
    print(f"  kubeconfig  {info.kubeconfig}")
    if info.kubernetes:
        print(f"  kubectl     export KUBECONFIG={info.kubeconfig}   (or: outrider kubectl get pods -A)")
    print("  try         outrider apply --filename examples/llama-3.1-8b.yaml --wait")
    print(f"  end it      {'' if detached else 'Ctrl-C, or '}outrider down{world_flag(info.name)}", flush=True)


def remove_state(folder: WorldFolder) -> None:
    """Forget a world that is not running, and end what a crash of it may have left.

    Raises:
        CliError: it is running.
    """
    from outrider.local.remains import end_leftovers

    try:
        folder.remove(lambda: end_leftovers(folder))
    except WorldInUse as error:
        which = f" (process {error.pid})" if error.pid is not None else ""
        raise CliError(
            f"the local world {folder.name!r} is running{which}",
            exit_code=Exit.CONFLICT,
            hints=(f"end it first:  outrider down{world_flag(folder.name)}",),
        ) from error


def start_detached(folder: WorldFolder, options: list[str], *, quiet: bool = False) -> tuple[WorldInfo, float]:
    """Start a world in a process of its own and wait until it is up; returns what it says and the seconds it took.

    Interrupted meanwhile, it ends what it has started.

    Raises:
        CliError: it did not come up; says what it printed, with its exit code.
    """
    folder.create()
    if folder.running:
        raise CliError(
            f"the local world {folder.name!r} is already running",
            exit_code=Exit.CONFLICT,
            hints=(f"end it:  outrider down{world_flag(folder.name)}",),
        )
    stale = folder.info()
    # Under a name of its own until the world is up: another start may be under way, of which one alone succeeds.
    handle, name = tempfile.mkstemp(dir=folder.path, prefix=f".{folder.output.name}.")
    output = Path(name)
    process: subprocess.Popen[bytes] | None = None
    try:
        # Interrupted within, `Popen` would raise although the process runs, and nobody would know of it.
        with os.fdopen(handle, "wb") as sink, _interrupts_put_off():
            process = subprocess.Popen(  # noqa: S603 - this very program, with options that were checked
                [sys.executable, "-m", "outrider", "up", "--world", folder.name, *options],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "OUTRIDER_TRACEBACK": "1"},
            )
        up = _when_up(folder, process, output, stale, quiet=quiet)
        output.replace(folder.output)
    except BaseException:
        output.unlink(missing_ok=True)
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GIVE_UP_SECONDS)
        raise
    return up


@contextmanager
def _interrupts_put_off() -> Iterator[None]:
    """What interrupts within takes effect at the end."""
    came: list[int] = []
    numbers = [
        each for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for interrupt in came:
            signal.raise_signal(interrupt)


def _when_up(
    folder: WorldFolder, process: "subprocess.Popen[bytes]", output: Path, stale: WorldInfo | None, *, quiet: bool
) -> tuple[WorldInfo, float]:
    with Progress(quiet=quiet) as progress:
        while progress.elapsed < _START_TIMEOUT_SECONDS:
            info = folder.info()
            if info is not None and info != stale and info.pid == process.pid:
                return info, progress.elapsed
            code = process.poll()
            if code is not None:
                raise CliError(
                    f"the local world did not come up: {_tail(output)}",
                    exit_code=Exit(code) if code in set(Exit) - {Exit.OK} else Exit.FAILED,
                )
            progress.show("starting the local world")
            time.sleep(0.05)
    raise CliError(
        f"the local world did not come up within {_START_TIMEOUT_SECONDS:.0f} s: {_tail(output)}",
        exit_code=Exit.TIMED_OUT,
    )


def _tail(path: Path, lines: int = 15) -> str:
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    return text.removeprefix("error: ") or "it said nothing"


@contextmanager
def interrupted_by_termination() -> Iterator[None]:
    """Within, being terminated or losing the terminal is as Ctrl-C: what was started gets ended.

    Who ignores the loss of the terminal (`nohup`) goes on doing so.
    """

    def interrupt(_: int, __: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as for a shell's background job: it would do nothing
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
