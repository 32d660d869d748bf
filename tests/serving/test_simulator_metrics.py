"""/metrics is compared with what a real vLLM 0.32 shows: names, types, descriptions, labels and buckets."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from outrider.serving.simulator.metrics import buckets_1_2_5

GOLDEN = Path(__file__).parents[1] / "golden" / "vllm-metrics.txt"

VALUES_DIFFER = {
    "vllm:cache_config_info": "its labels are the configuration: only their names must agree",
    "python_info": "its labels are the interpreter's version: only their names must agree",
}
"""The only differences from the capture, each with its reason."""

START = "--max-model-len=256 --block-size=128 --num-gpu-blocks-override=4096"
"""As the captured server was started. Buckets of token counts end with the context's length."""


def family_lines(lines: Iterable[str]) -> set[str]:
    """HELP, TYPE, and series by name and labels; without values, and without `model_name`'s value."""
    found = set()
    for line in lines:
        if line.startswith("#"):
            found.add(line)
            continue
        match = re.match(r"([a-zA-Z_:][\w:]*)(\{.*\})?", line)
        if not match:
            continue
        name, labels = match[1], re.sub(r'model_name="[^"]*"', 'model_name="M"', match[2] or "")
        if name in VALUES_DIFFER:
            labels = ",".join(sorted(re.findall(r'(\w+)="', labels)))
        found.add(name + labels)
    return found


def golden() -> set[str]:
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    return family_lines(line for line in lines if not line.startswith("# What") and not line.startswith("# The values"))


def test_metrics_are_those_of_a_real_server(start_server: Callable[..., Any]) -> None:
    server = start_server(START)
    assert server.post("/v1/completions", {"model": "m", "prompt": "test", "max_tokens": 4})[0] == 200
    _, text = server.get("/metrics")
    shown, expected = family_lines(text.splitlines()), golden()
    assert sorted(expected - shown) == []
    assert sorted(shown - expected) == []


def test_every_metric_of_the_capture_that_matters_to_an_endpoint_picker_is_there(server: Any) -> None:
    _, text = server.get("/metrics")
    for name in ("num_requests_waiting", "num_requests_running", "kv_cache_usage_perc", "cache_config_info"):
        assert re.search(rf"^vllm:{name}\{{", text, re.MULTILINE), name
    assert "vllm:lora_requests_info" not in text, "vLLM shows it only with LoRA"


def test_lora_requests_show_their_adapters(start_server: Callable[..., Any]) -> None:
    server = start_server("--enable-lora --max-loras=2 --lora-modules sql=/adapters/sql")
    status, answer = server.post("/v1/completions", {"model": "sql", "prompt": "test"})
    assert (status, answer["model"]) == (200, "sql")
    _, text = server.get("/metrics")
    labels = 'max_lora="2",running_lora_adapters="sql",waiting_lora_adapters=""'
    assert re.search(rf"^vllm:lora_requests_info\{{{labels}\}} 1\.\d+e\+09$", text, re.MULTILINE)


def test_the_content_type_is_that_of_the_text_format(server: Any) -> None:
    async def content_type() -> str:
        async with server.session.get("/metrics") as response:
            return str(response.headers["Content-Type"])

    assert server.run(content_type()) == "text/plain; version=0.0.4; charset=utf-8"


BUCKETS = {
    "the captured context": (256, (1, 2, 5, 10, 20, 50, 100, 200)),
    "a context that is a bucket": (100, (1, 2, 5, 10, 20, 50, 100)),
    "the shortest context": (1, (1,)),
}


@pytest.mark.parametrize("case", BUCKETS)
def test_token_buckets(case: str) -> None:
    longest, expected = BUCKETS[case]
    assert buckets_1_2_5(longest) == expected


HTTP = {
    "a completion": ("POST", "/v1/completions", {"prompt": "x"}, ("/v1/completions", "2xx")),
    "an unknown model": ("POST", "/v1/completions", {"prompt": "x", "model": "n"}, ("/v1/completions", "4xx")),
    "a malformed body": ("POST", "/v1/chat/completions", {}, ("/v1/chat/completions", "4xx")),
    "the list of models": ("GET", "/v1/models", None, ("/v1/models", "2xx")),
    "a wrong method": ("GET", "/v1/completions", None, ("/v1/completions", "4xx")),
    "an unknown path": ("GET", "/nope", None, ("none", "4xx")),
}


@pytest.mark.parametrize("case", HTTP)
def test_http_requests_are_counted_by_handler_and_status(case: str, start_server: Callable[..., Any]) -> None:
    server = start_server()
    method, path, body, (handler, status) = HTTP[case]
    if method == "POST":
        server.post(path, body)
    else:
        server.get(path)
    assert server.metric("http_requests_total", handler=handler, method=method, status=status) == 1
    assert server.metric("http_request_duration_seconds_count", handler=handler, method=method) == 1
    assert server.metric("http_request_duration_highr_seconds_count") == 1
    assert server.metric("http_request_size_bytes_count", handler=handler) == 1


@pytest.mark.parametrize("path", ["/health", "/ping", "/version", "/metrics", "/admin/config"])
def test_what_is_not_counted(path: str, start_server: Callable[..., Any]) -> None:
    server = start_server()
    assert server.get(path)[0] == 200
    assert server.metric("http_request_duration_highr_seconds_count") == 0
