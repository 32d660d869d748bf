"""The OpenAI-compatible API, in this process: answers, streams, errors, and never a 500 for malformed input."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


def ask(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **fields}


def events(server: Any, path: str, body: dict[str, Any]) -> list[Any]:
    """The decoded events of a stream; the last is the text `[DONE]`."""

    async def read() -> list[Any]:
        async with server.session.post(path, json=body | {"stream": True}) as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/event-stream")
            blocks = (await response.text()).split("\n\n")
        assert blocks[-1] == ""
        texts = [block.removeprefix("data: ") for block in blocks[:-1]]
        return [text if text == "[DONE]" else json.loads(text) for text in texts]

    found: list[Any] = server.run(read())
    return found


def test_a_completion_has_the_shape_of_vllms(server: Any) -> None:
    status, answer = server.post(
        COMPLETIONS, {"model": "m", "prompt": "Reply with the single word: pong", "user": "me"}
    )
    assert status == 200
    assert answer.pop("id").startswith("cmpl-")
    assert isinstance(answer.pop("created"), int)
    assert answer.pop("system_fingerprint").startswith("vllm-0.32.0-")
    assert answer == {
        "object": "text_completion",
        "model": "m",
        "choices": [{"index": 0, "text": "pong", "logprobs": None, "finish_reason": "stop", "stop_reason": None}],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 2,
            "total_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


def test_a_chat_completion_has_the_shape_of_vllms(server: Any) -> None:
    status, answer = server.post(CHAT, ask("What is the capital of France?"))
    assert status == 200
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "The capital of France is Paris."
    assert choice["finish_reason"] == "stop"


def test_the_request_of_the_sre_guide_is_answered(server: Any) -> None:
    status, answer = server.post(COMPLETIONS, {"prompt": "test", "max_tokens": 1})
    assert (status, answer["model"], answer["usage"]["completion_tokens"]) == (200, "m", 1)
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_stream_says_the_same_as_the_whole_answer(server: Any, path: str) -> None:
    body = ask("Please explain Kubernetes", max_tokens=40) | {"prompt": "Please explain Kubernetes"}
    _, whole = server.post(path, body)
    *chunks, done = events(server, path, body | {"stream_options": {"include_usage": True}})
    assert done == "[DONE]"
    usage_chunk = chunks.pop()
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    (expected,) = whole["choices"]
    if path == CHAT:
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(choice["delta"]["content"] for choice in choices) == expected["message"]["content"]
    else:
        assert "".join(choice["text"] for choice in choices) == expected["text"]
    assert [choice["finish_reason"] for choice in choices[-2:]] == [None, "length"]
    assert usage_chunk["choices"] == []
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert {name: usage_chunk["usage"][name] for name in counts} == {name: whole["usage"][name] for name in counts}
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_a_stream_without_options_has_no_usage(server: Any) -> None:
    assert not any("usage" in chunk for chunk in events(server, CHAT, ask("hello"))[:-1])


def test_usage_can_come_with_every_chunk(server: Any) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    *chunks, _ = events(server, CHAT, ask("What is 2+2?", stream_options=options))
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == sorted(
        chunk["usage"]["completion_tokens"] for chunk in chunks
    )


def test_several_answers_differ_and_count_the_prompt_once(server: Any) -> None:
    body = {"prompt": ["Please explain Kubernetes", "Please explain Prometheus"], "n": 2, "max_tokens": 30}
    _, answer = server.post(COMPLETIONS, body)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert len({choice["text"] for choice in answer["choices"]}) == 4
    assert answer["usage"]["prompt_tokens"] == 8
    assert answer["usage"]["completion_tokens"] == 120


def test_the_same_seed_gives_the_same_text_and_another_another(server: Any) -> None:
    texts = [
        server.post(CHAT, ask("Please explain Kubernetes", seed=seed))[1]["choices"][0]["message"]["content"]
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_echo_repeats_the_prompt(server: Any) -> None:
    body = {"prompt": "Reply with the single word: pong", "echo": True}
    assert server.post(COMPLETIONS, body)[1]["choices"][0]["text"] == "Reply with the single word: pongpong"
    text = "".join(choice["text"] for chunk in events(server, COMPLETIONS, body)[:-1] for choice in chunk["choices"])
    assert text == "Reply with the single word: pongpong"


def test_logprobs_of_a_completion_cover_every_token(server: Any) -> None:
    _, answer = server.post(COMPLETIONS, {"prompt": "Say hello there", "max_tokens": 5, "logprobs": 1, "echo": True})
    (choice,) = answer["choices"]
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert len(logprobs["token_logprobs"]) == len(logprobs["top_logprobs"]) == len(logprobs["tokens"])
    assert logprobs["text_offset"][1] == len(logprobs["tokens"][0])


def test_logprobs_of_a_chat_cover_every_token(server: Any) -> None:
    _, answer = server.post(CHAT, ask("What is 2+2?", logprobs=True, top_logprobs=1))
    (choice,) = answer["choices"]
    content = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in content) == choice["message"]["content"]
    assert all(token["logprob"] <= 0 and len(token["top_logprobs"]) == 1 for token in content)


def test_a_second_equal_prompt_is_cached_in_whole_blocks(server: Any) -> None:
    prompt = "An unusual sentence that fills more than two blocks of sixteen tokens each, word by word. " * 3
    cached = [
        server.post(COMPLETIONS, {"prompt": prompt, "max_tokens": 1})[1]["usage"]["prompt_tokens_details"]
        for _ in range(2)
    ]
    assert cached[0] == {"cached_tokens": 0}
    assert cached[1]["cached_tokens"] >= 32
    assert cached[1]["cached_tokens"] % 16 == 0


def test_prompts_may_be_token_numbers(server: Any) -> None:
    assert server.post(COMPLETIONS, {"prompt": [1, 2, 3], "max_tokens": 1})[1]["usage"]["prompt_tokens"] == 3
    assert server.post(COMPLETIONS, {"prompt": [[1, 2], [3]], "max_tokens": 1})[1]["usage"]["prompt_tokens"] == 3


def test_content_may_be_parts(server: Any) -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "2+2?"}]
    status, answer = server.post(CHAT, {"messages": [{"role": "user", "content": parts}]})
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "2 + 2 is 4.")


ERRORS: dict[str, tuple[str, dict[str, Any], int, str, str | None, str]] = {
    "an unknown model": (
        CHAT, ask("x", model="n"), 404, "NotFoundError", "model", "The model `n` does not exist.",
    ),
    "no messages": (CHAT, {"model": "m"}, 400, "Bad Request", None, "messages"),
    "an empty conversation": (CHAT, {"messages": []}, 400, "Bad Request", "messages", "messages"),
    "a field of the wrong type": (
        COMPLETIONS, {"prompt": "x", "max_tokens": "many"}, 400, "Bad Request", "max_tokens", "max_tokens",
    ),
    "no tokens": (COMPLETIONS, {"prompt": "x", "max_tokens": 0}, 400, "Bad Request", "max_tokens", ">= 1"),
    "a negative temperature": (CHAT, ask("x", temperature=-1), 400, "Bad Request", "temperature", ">= 0"),
    "no prompt": (COMPLETIONS, {"model": "m"}, 400, "BadRequestError", "prompt", "prompt must be"),
    "an empty prompt": (COMPLETIONS, {"prompt": ""}, 400, "BadRequestError", "prompt", "cannot be empty"),
    "a prompt of mixed kinds": (COMPLETIONS, {"prompt": ["a", 1]}, 400, "BadRequestError", "prompt", "prompt must"),
    "a suffix": (COMPLETIONS, {"prompt": "x", "suffix": "y"}, 400, "BadRequestError", "suffix", "not currently"),
    "options without a stream": (
        CHAT, ask("x", stream_options={"include_usage": True}), 400, "BadRequestError", "stream_options", "stream=True",
    ),
    "an empty stop": (CHAT, ask("x", stop=[""]), 400, "BadRequestError", "stop", "empty"),
    "a picture": (
        CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "BadRequestError", "messages",
        "only reads text",
    ),
    "tools that were not switched on": (
        CHAT, ask("x", tools=[{"type": "function"}]), 400, "BadRequestError", "tools", "--enable-auto-tool-choice",
    ),
    "a tool choice without tools": (
        CHAT, ask("x", tool_choice="required"), 400, "BadRequestError", "tool_choice", "tools",
    ),
    "a grammar": (
        CHAT, ask("x", response_format={"type": "json_schema"}), 400, "BadRequestError", "response_format",
        "json_schema",
    ),
    "top logprobs without logprobs": (
        CHAT, ask("x", top_logprobs=2), 400, "BadRequestError", "top_logprobs", "logprobs",
    ),
    "more logprobs than allowed": (
        COMPLETIONS, {"prompt": "x", "logprobs": 21}, 400, "BadRequestError", "logprobs", "--max-logprobs",
    ),
    "too many answers": (COMPLETIONS, {"prompt": "x", "n": 129}, 400, "BadRequestError", "n", "at most 128"),
    "a minimum above the maximum": (
        COMPLETIONS, {"prompt": "x", "min_tokens": 9, "max_tokens": 8}, 400, "BadRequestError", "min_tokens",
        "less than",
    ),
    "a prompt longer than the context": (
        COMPLETIONS, {"prompt": "x\n" * 200_000}, 400, "BadRequestError", "input_tokens", "maximum context length",
    ),
    "an answer longer than the context": (
        CHAT, ask("x", max_tokens=200_000), 400, "BadRequestError", "max_tokens", "maximum context length",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str, server: Any) -> None:
    path, body, status, kind, param, words = ERRORS[case]
    found, answer = server.post(path, body)
    assert (found, answer["error"]["code"], answer["error"]["type"]) == (status, status, kind)
    assert answer["error"]["param"] == param
    assert words in answer["error"]["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"prompt": "\\ud800"}', b"[" * 100_000]
)
def test_a_malformed_body_is_a_400(server: Any, body: bytes) -> None:
    status, answer = server.post(COMPLETIONS, data=body, headers={"Content-Type": "application/json"})
    assert (status, answer["error"]["type"]) == (400, "Bad Request")


def test_a_form_is_no_json(server: Any) -> None:
    status, answer = server.post(COMPLETIONS, data={"prompt": "x"})
    assert status == 400
    assert "application/json" in answer["error"]["message"]


def test_unknown_paths_and_methods_have_errors_in_json(server: Any) -> None:
    assert server.get("/nope") == (
        404,
        {"error": {"message": "Not Found", "type": "Not Found", "param": None, "code": 404}},
    )
    assert server.get(COMPLETIONS)[1]["error"]["type"] == "Method Not Allowed"


def test_a_body_that_is_too_large_is_a_413(server: Any) -> None:
    status, answer = server.post(COMPLETIONS, {"prompt": "x" * 9 * 2**20})
    assert (status, answer["error"]["code"]) == (413, 413)


def test_answers_close_their_connection_while_the_server_shuts_down(start_server: Callable[..., Any]) -> None:
    server = start_server()

    async def connection_header() -> str | None:
        async with server.session.get("/health") as response:
            header: str | None = response.headers.get("Connection")
            return header

    assert server.run(connection_header()) is None
    server.in_flight.draining = True
    assert server.run(connection_header()) == "close"


def test_models_list_every_name_and_the_context(start_server: Callable[..., Any]) -> None:
    server = start_server("--served-model-name a b --max-model-len=4096 --enable-lora --lora-modules sql=/adapters/sql")
    _, listed = server.get("/v1/models")
    shown = [(model["id"], model["root"], model["parent"], model["max_model_len"]) for model in listed["data"]]
    assert shown == [("a", "org/m", None, 4096), ("b", "org/m", None, 4096), ("sql", "/adapters/sql", "a", None)]
    assert {model["owned_by"] for model in listed["data"]} == {"vllm"}
    assert server.post(COMPLETIONS, {"model": "b", "prompt": "x"})[1]["model"] == "a", "the first name is shown"


def test_health_and_ping_have_no_body(server: Any) -> None:
    assert [server.get("/health"), server.get("/ping"), server.post("/ping")] == [(200, "")] * 3


def test_the_version_says_that_it_is_simulated(server: Any) -> None:
    assert server.get("/version") == (200, {"version": "0.32.0+outrider.simulator"})


def test_tokenize_counts_what_a_completion_counts(server: Any) -> None:
    prompt = "Please explain Kubernetes, Prometheus and 1234567."
    _, tokens = server.post("/tokenize", {"prompt": prompt, "return_token_strs": True})
    assert "".join(tokens["token_strs"]) == prompt
    assert tokens["count"] == len(tokens["tokens"])
    assert server.post(COMPLETIONS, {"prompt": prompt, "max_tokens": 1})[1]["usage"]["prompt_tokens"] == tokens["count"]
    messages = [{"role": "user", "content": "hello"}]
    count = server.post("/tokenize", {"messages": messages})[1]["count"]
    assert server.post(CHAT, {"messages": messages, "max_tokens": 1})[1]["usage"]["prompt_tokens"] == count
    assert server.post("/tokenize", {})[0] == 400


def test_keys_guard_the_api_and_leave_probes_open(start_server: Callable[..., Any]) -> None:
    server = start_server("--api-key one two")
    assert server.get("/v1/models") == (401, {"error": "Unauthorized"})
    assert server.get("/v1/models", headers={"Authorization": "Bearer three"})[0] == 401
    assert server.get("/v1/models", headers={"Authorization": "Basic two"})[0] == 401
    assert server.get("/v1/models", headers={"Authorization": "Bearer two"})[0] == 200
    assert server.get("/health")[0] == 200
    assert server.get("/metrics")[0] == 200


def test_request_ids_are_given_back_where_asked_for(start_server: Callable[..., Any]) -> None:
    async def header(server: Any) -> tuple[str | None, str]:
        async with server.session.post(COMPLETIONS, json={"prompt": "x"}, headers={"X-Request-Id": "abc"}) as response:
            return response.headers.get("X-Request-Id"), (await response.json())["id"]

    with_headers, without = start_server("--enable-request-id-headers"), start_server()
    assert with_headers.run(header(with_headers)) == ("abc", "cmpl-abc")
    assert without.run(header(without)) == (None, "cmpl-abc")


def test_a_full_queue_is_a_503_that_metrics_count(start_server: Callable[..., Any]) -> None:
    server = start_server("--max-num-queued-reqs=1")
    status, answer = server.post(COMPLETIONS, {"prompt": ["a", "b"]})
    assert (status, answer["error"]["type"]) == (503, "ServiceUnavailableError")
    rejected = server.service.registry.get_sample_value(
        "vllm:admission_rejections_total", {"model_name": "m", "reason": "max_num_queued_reqs"}
    )
    assert rejected == 1
    assert server.post(COMPLETIONS, {"prompt": "a"})[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slot(stream: bool, start_server: Callable[..., Any]) -> None:
    server = start_server("--max-num-seqs=1", {"inter-token-latency-ms": 5})

    async def leave() -> None:
        body = {"prompt": "x", "max_tokens": 100_000, "ignore_eos": True, "stream": stream}
        asked = asyncio.create_task(server.session.post(COMPLETIONS, json=body))
        await server.until(lambda: server.metric("vllm:generation_tokens_total") > 0)
        if stream:
            (await asked).close()
        asked.cancel()
        await server.until(lambda: server.metric("vllm:num_requests_running") == 0)

    server.run(leave())
    reasons = ("stop", "length", "abort", "error")
    assert [server.metric("vllm:request_success_total", finished_reason=reason) for reason in reasons] == [0] * 4
    assert server.post(COMPLETIONS, {"prompt": "x"})[0] == 200


def test_two_hundred_streams_at_once_all_end_well(server: Any) -> None:
    async def stream(number: int) -> bool:
        body = {"prompt": f"Question {number}", "max_tokens": 20, "ignore_eos": True, "stream": True}
        async with server.session.post(COMPLETIONS, json=body) as response:
            text = await response.text()
        return text.count("data: ") == 21 and text.endswith("data: [DONE]\n\n")

    async def all_streams() -> list[bool]:
        return await asyncio.gather(*(stream(number) for number in range(200)))

    assert all(server.run(all_streams()))


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "x"]), "content": st.text(max_size=20) | values}),
    max_size=3,
)
NAMES = [
    "model", "prompt", "stream", "stream_options", "n", "max_completion_tokens", "min_tokens", "ignore_eos",
    "stop", "seed", "temperature", "top_p", "top_k", "logprobs", "top_logprobs", "echo", "suffix", "response_format",
    "tools", "tool_choice", "request_id", "best_of",
]  # fmt: skip
plausible = {
    "model": st.just("m") | values,
    "stream": st.booleans() | values,
    "n": st.integers(1, 3) | values,
    "prompt": st.text(max_size=20) | st.lists(st.integers(0, 9), max_size=4) | values,
    "ignore_eos": values,
}
bodies = st.fixed_dictionaries(
    {"messages": messages | values, "max_tokens": st.integers(1, 4) | values},
    optional={name: plausible.get(name, values) for name in NAMES},
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies, st.sampled_from([CHAT, COMPLETIONS, "/tokenize"]))
@example({"messages": [{"role": "user", "content": "x"}], "request_id": "\n\x00", "max_tokens": 1}, CHAT)
@example({"prompt": [10**400], "max_tokens": 1}, COMPLETIONS)
@example({"prompt": "x", "seed": 10**30, "max_tokens": 1}, COMPLETIONS)
def test_no_body_is_answered_with_a_500(server: Any, body: dict[str, Any], path: str) -> None:
    status, answer = server.post(path, body)
    assert status in {200, 400, 404}
    if status != 200:
        assert answer["error"]["code"] == status
        assert answer["error"]["message"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.sampled_from([CHAT, COMPLETIONS, "/tokenize", "/admin/config"]))
@example(b"{}", "/admin/config")
def test_no_bytes_are_answered_with_a_500(server: Any, body: bytes, path: str) -> None:
    status, answer = server.post(path, data=body, headers={"Content-Type": "application/json"})
    if path == "/admin/config" and body.strip() == b"{}":
        assert status == 200, "to change nothing is a good change"
    else:
        assert (status, answer["error"]["code"]) == (400, 400)
