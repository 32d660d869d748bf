"""The server as pods run it: start, load, signals, crashes, log, and the official `openai` client against it."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import openai
import pytest

pytestmark = pytest.mark.e2e

LONG = {"inter-token-latency-ms": 5}
"""Slow enough for a test to act while an answer is under way."""


def client_of(process: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{process.url}/v1", api_key="none", max_retries=0, timeout=20)


def ask(client: openai.OpenAI, text: str, **fields: Any) -> Any:
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], **fields)


def refused(url: str) -> bool:
    host, port = re.findall(r"http://([\d.]+):(\d+)", url)[0]
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


# --- the official client -------------------------------------------------------------------------------------------


def test_the_openai_client_is_served(start_process: Callable[..., Any]) -> None:
    client = client_of(start_process())
    with client:
        assert [model.id for model in client.models.list()] == ["m"]
        answer = ask(client, "What is the capital of France?", seed=1)
        assert answer.choices[0].message.content == "The capital of France is Paris."
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.prompt_tokens_details.cached_tokens == 0
        completion = client.completions.create(model="m", prompt="Reply with the single word: pong")
        assert completion.choices[0].text == "pong"


def test_the_openai_client_streams(start_process: Callable[..., Any]) -> None:
    with client_of(start_process()) as client:
        stream = ask(client, "What is 2+2?", stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "2 + 2 is 4."
        assert chunks[-1].usage.completion_tokens == 7
        texts = client.completions.create(model="m", prompt="Say hello", stream=True)
        assert "".join(chunk.choices[0].text for chunk in texts) == "hello"


CLIENT_ERRORS: dict[str, tuple[dict[str, Any], type[openai.APIStatusError], str]] = {
    "an unknown model": ({"model": "n"}, openai.NotFoundError, "The model `n` does not exist."),
    "too long an answer": ({"max_tokens": 10**6}, openai.BadRequestError, "maximum context length"),
    "a wrong value": ({"temperature": -1}, openai.BadRequestError, "temperature"),
}


def test_the_openai_client_understands_the_errors(start_process: Callable[..., Any]) -> None:
    with client_of(start_process()) as client:
        for fields, kind, words in CLIENT_ERRORS.values():
            arguments: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
            with pytest.raises(kind) as error:
                client.chat.completions.create(**arguments)
            assert words in error.value.message


def test_the_openai_client_sees_injected_faults(start_process: Callable[..., Any]) -> None:
    process = start_process()
    with client_of(process) as client:
        process.configure(error_rate=1)
        with pytest.raises(openai.InternalServerError):
            ask(client, "x")
        process.configure(error_rate=0, truncate_rate=1)
        with pytest.raises(openai.APIConnectionError):
            list(ask(client, "Please explain Kubernetes", stream=True))
        process.configure(truncate_rate=0)
        assert ask(client, "What is 2+2?").choices[0].message.content == "2 + 2 is 4."


# --- start ---------------------------------------------------------------------------------------------------------


def test_the_port_refuses_connections_until_the_model_is_loaded(start_process: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    process = start_process(f"--port={port}", {"load-seconds": 1})
    process.until(lambda: "1/4" in process.log)
    assert refused(f"http://127.0.0.1:{port}")
    assert process.get("/health") == b""
    loaded = [line for line in process.lines if "checkpoint shards" in line]
    assert len(loaded) == 4
    assert all(re.match(r"\(APIServer pid=\d+\) INFO \d\d-\d\d \d\d:\d\d:\d\d \[simulator\] ", line) for line in loaded)


def test_a_port_that_is_taken_is_an_error_at_once(start_process: Callable[..., Any]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start_process(f"--port={taken.getsockname()[1]}", {"load-seconds": 3600})
        assert process.wait() == 1
    assert "ERROR" in process.log
    assert "Cannot listen on 127.0.0.1 port" in process.log


START_FAILURES: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "an unknown flag": ("--frobnicate", {}, 2, "vllm: error: unrecognized arguments: --frobnicate"),
    "an unknown setting": ("", {"eror-rate": 1}, 2, "OUTRIDER_SIMULATOR: unknown key 'eror-rate'"),
    "a crash while loading": ("", {"crash-on-start": True}, 1, "ERROR"),
    "weights that do not fit": ("", {"gpu-memory-gigabytes": 10}, 1, "No memory is left for the KV cache"),
    "a context that does not fit": ("--max-model-len=10m", {}, 1, "does not fit into the KV cache"),
}


@pytest.mark.parametrize("case", START_FAILURES)
def test_a_start_that_fails(case: str, start_process: Callable[..., Any]) -> None:
    flags, settings, code, words = START_FAILURES[case]
    process = start_process(flags, settings)
    assert process.wait() == code
    assert words in process.log


def test_a_signal_while_loading_ends_the_process(start_process: Callable[..., Any]) -> None:
    process = start_process("", {"load-seconds": 3600})
    process.until(lambda: "Starting to load" in process.log)
    process.signal()
    assert process.wait() == 0


def test_settings_that_are_no_json_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "outrider.serving.simulator", "serve", "m", "--port=0"],
        env={"OUTRIDER_SIMULATOR": "{oops"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, "not JSON" in done.stderr) == (2, True)


# --- end -----------------------------------------------------------------------------------------------------------


class Stream(threading.Thread):
    """A stream that is read in the background."""

    def __init__(self, client: openai.OpenAI, tokens: int) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._tokens = tokens
        self.chunks = 0
        self.error: Exception | None = None

    def run(self) -> None:
        body = {"ignore_eos": True}
        try:
            for _ in self._client.completions.create(
                model="m", prompt="x", max_tokens=self._tokens, stream=True, extra_body=body
            ):
                self.chunks += 1
        except openai.OpenAIError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a broken body surfaces as the HTTP library's own error
            self.error = error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_streams_end_before_the_process_does(number: signal.Signals, start_process: Callable[..., Any]) -> None:
    process = start_process("--shutdown-timeout=20", LONG)
    url = process.url
    with client_of(process) as client:
        stream = Stream(client, tokens=100)
        stream.start()
        process.until(lambda: stream.chunks > 3)
        process.signal(number)
        process.until(lambda: refused(url))
        assert process.process.poll() is None, "it waits for the stream"
        assert process.wait() == 0
        stream.join(20)
    assert stream.error is None
    assert stream.chunks == 100
    assert "Waiting up to 20 s for 1 requests" in process.log


def test_streams_that_outlast_the_timeout_are_aborted(start_process: Callable[..., Any]) -> None:
    process = start_process("--shutdown-timeout=0.2", LONG)
    with client_of(process) as client:
        stream = Stream(client, tokens=100_000)
        stream.start()
        process.until(lambda: stream.chunks > 3)
        process.signal()
        assert process.wait() == 0
        stream.join(20)
    assert stream.error is not None
    assert "Aborting 1 requests" in process.log


def test_without_a_timeout_requests_are_aborted_at_once_and_hanging_ones_too(start_process: Callable[..., Any]) -> None:
    process = start_process("", {"wedge": True})
    with client_of(process) as client:
        stream = Stream(client, tokens=5)
        stream.start()
        process.until(lambda: b'handler="/v1' not in process.get("/metrics") and stream.is_alive())
        process.signal()
        assert process.wait() == 0
        stream.join(20)
    assert stream.error is not None


def test_a_second_signal_ends_it_at_once(start_process: Callable[..., Any]) -> None:
    process = start_process("--shutdown-timeout=3600", LONG)
    with client_of(process) as client:
        stream = Stream(client, tokens=100_000)
        stream.start()
        process.until(lambda: stream.chunks > 3)
        process.signal()
        process.until(lambda: "Received SIGTERM" in process.log)
        process.signal()
        assert process.wait() == 128 + signal.SIGTERM
        stream.join(20)


def test_an_idle_connection_does_not_delay_the_end(start_process: Callable[..., Any]) -> None:
    process = start_process("--shutdown-timeout=3600")
    with client_of(process) as client:
        ask(client, "What is 2+2?")
        process.signal()
        assert process.wait() == 0


CRASHES = {"crash-after-requests": {"crash-after-requests": 1}, "crash-after-seconds": {"crash-after-seconds": 0}}


@pytest.mark.parametrize("case", CRASHES)
def test_a_crash_leaves_an_error_in_the_log_and_an_exit_code(case: str, start_process: Callable[..., Any]) -> None:
    process = start_process("", CRASHES[case])
    if case == "crash-after-requests":
        with client_of(process) as client, pytest.raises(openai.APIConnectionError):
            ask(client, "x")
    assert process.wait() == 1
    assert f"EngineDeadError: EngineCore encountered an issue (injected by {case})" in process.log
    assert "ERROR" in process.log


def test_the_access_log_has_what_was_asked_for_and_not_what_was_silenced(start_process: Callable[..., Any]) -> None:
    process = start_process("--disable-access-log-for-endpoints=/health,/metrics", {"error-rate": 1})
    process.get("/health")
    process.get("/metrics")
    process.get("/v1/models")
    with client_of(process) as client, pytest.raises(openai.InternalServerError):
        ask(client, "x")
    process.until(lambda: '"POST /v1/chat/completions HTTP/1.1" 500' in process.log)
    lines = [line for line in process.lines if "HTTP/1.1" in line]
    assert [re.sub(r"^.*INFO:     127\.0\.0\.1:\d+ - ", "", line) for line in lines] == [
        '"GET /v1/models HTTP/1.1" 200',
        '"POST /v1/chat/completions HTTP/1.1" 500',
    ]
    assert any("ERROR" in line and "failed with 500" in line for line in process.lines)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have only 127.0.0.1")
def test_it_serves_on_a_pods_own_address(start_process: Callable[..., Any]) -> None:
    process = start_process(host="127.64.0.9")
    assert process.url.startswith("http://127.64.0.9:")
    assert json.loads(process.get("/v1/models"))["data"][0]["id"] == "m"
    process.configure(error_rate=0.5)
    assert json.loads(process.get("/admin/config"))["error-rate"] == 0.5
    process.signal()
    process.wait()
    with pytest.raises(URLError):
        process.get("/health")


def test_the_engine_dies_with_its_gpu_and_does_not_start_without(
    start_process: Callable[..., Any], tmp_path: Path
) -> None:
    state = tmp_path / "gpus.json"

    def lost(*indexes: int) -> None:
        gpus = [{"index": n, "uuid": f"GPU-{n}", "product": "NVIDIA-L4", "lost": n in indexes} for n in (0, 1)]
        state.write_text(json.dumps({"gpus": gpus}))

    lost()
    environment = {"OUTRIDER_GPUS": str(state), "NVIDIA_VISIBLE_DEVICES": "1"}
    process = start_process(environment=environment)
    assert process.get("/health") == b""
    lost(0)  # somebody else's
    assert process.get("/health") == b""
    lost(0, 1)
    assert process.wait() == 1
    assert "EngineDeadError: EngineCore encountered an issue (injected by the loss of GPU-1)" in process.log
    again = start_process(environment=environment)
    assert again.wait() == 1
    assert "GPU-1 has fallen off the bus" in again.log
