"""The process: flags and settings, the load, the port that opens after it, signals, and the log.

Only what the first log line needs is imported here; the rest is imported while the model "loads".
"""

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

from outrider.serving.simulator.flags import Flags, parse_flags
from outrider.serving.simulator.profile import ModelDoesNotFitError, Profile, make_profile
from outrider.serving.simulator.settings import ENVIRONMENT_VARIABLE, Settings, SettingsError, from_environment

logger = logging.getLogger("simulator")

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
SHARDS = 4
"""Progress lines of the load."""


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal. Returns the process's exit code: 0 after a signal, 1 for a failed start or a crash,
    2 for a wrong command line or wrong settings.
    """
    began = time.monotonic()
    flags = parse_flags(arguments)
    _set_up_log()
    try:
        settings = from_environment(os.environ.get(ENVIRONMENT_VARIABLE))
    except SettingsError as error:
        sys.stderr.write(f"outrider simulator: error: {ENVIRONMENT_VARIABLE}: {error}\n")
        return EXIT_USAGE
    try:
        profile = make_profile(flags, settings)
        listener = _bind(flags)
    except ModelDoesNotFitError as error:
        logger.error("Engine core initialization failed: %s", error)  # noqa: TRY400 - the message says all
        return EXIT_FAILED
    except OSError as error:
        logger.error("Cannot listen on %s port %d: %s", flags.host or "all addresses", flags.port, error)  # noqa: TRY400
        return EXIT_FAILED
    with listener:
        return asyncio.run(_serve(flags, settings, profile, listener, began))


async def _serve(flags: Flags, settings: Settings, profile: Profile, listener: socket.socket, began: float) -> int:
    stop = _stop_on_signals()
    loading = asyncio.create_task(_load(flags, settings, profile, began))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        loading.cancel()
        logger.info("Stopped while the model was loading")
        return EXIT_OK
    if not loading.result():
        return EXIT_FAILED
    # Imported by now, in `_load`.
    from outrider.serving.simulator.running import run_until  # noqa: PLC0415 - slow to import, see above

    return await run_until(stopping, flags, settings, listener, crash=_crash)


async def _load(flags: Flags, settings: Settings, profile: Profile, began: float) -> bool:
    """As long as the model takes to load, counted from the start of the process. False: it crashed."""
    logger.info("Starting to load model %s (simulated, vLLM 0.32)", flags.model)
    imported = asyncio.create_task(asyncio.to_thread(importlib.import_module, "outrider.serving.simulator.running"))
    for shard in range(1, SHARDS + 1):
        due = began + profile.load_seconds * shard / SHARDS
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if settings.crash_on_start and shard > SHARDS // 2:
            logger.error("EngineCore failed to start: RuntimeError: CUDA error (injected by crash-on-start)")
            return False
        percent = 100 * shard // SHARDS
        logger.info("Loading safetensors checkpoint shards: %3d%% Completed | %d/%d", percent, shard, SHARDS)
    await imported
    from outrider.serving.simulator import gpus  # noqa: PLC0415 - slow to import, see above

    if uuid := gpus.lost():
        logger.error("EngineCore failed to start: RuntimeError: CUDA error: %s has fallen off the bus", uuid)
        return False
    logger.info(
        "Model loading took %.1f GB memory and %.2f seconds", profile.weights_bytes / 1e9, time.monotonic() - began
    )
    logger.info("GPU KV cache size: %d tokens in %d blocks", profile.cache_tokens, profile.num_blocks)
    concurrency = profile.cache_tokens / profile.max_model_len
    logger.info("Maximum concurrency for %d tokens per request: %.2fx", profile.max_model_len, concurrency)
    return True


def _stop_on_signals() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; the second ends the process at once."""
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        logger.info("Received %s, shutting down", signal.Signals(number).name)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def _bind(flags: Flags) -> socket.socket:
    """The port is taken at once, so that a conflict shows at once; it refuses connections until it listens."""
    host = flags.host or "0.0.0.0"  # noqa: S104 - vLLM's default, and the only one that serves a pod's probes
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, flags.port))
    except OSError:
        listener.close()
        raise
    return listener


def _crash(reason: str) -> None:
    """End as a process whose engine has died: at once, with an error in the log, nothing cleaned up."""
    logger.error("EngineDeadError: EngineCore encountered an issue (injected by %s)", reason)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(EXIT_FAILED)


def _set_up_log() -> None:
    """To stdout. Engine lines look like vLLM's, access lines like those of its HTTP server."""
    engine = logging.StreamHandler(sys.stdout)
    prefix = f"(APIServer pid={os.getpid()}) "
    engine.setFormatter(
        logging.Formatter(f"{prefix}%(levelname)s %(asctime)s [%(name)s] %(message)s", datefmt="%m-%d %H:%M:%S")
    )
    logging.basicConfig(level=logging.INFO, handlers=[engine])
    access = logging.StreamHandler(sys.stdout)
    access.setFormatter(logging.Formatter(f"{prefix}%(levelname)s:     %(message)s"))
    access_logger = logging.getLogger("simulator.access")
    access_logger.handlers = [access]
    access_logger.propagate = False
