"""The OpenAI-compatible API: request bodies in, decoded and checked as vLLM checks them, and error bodies out."""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from outrider.serving.simulator.tokens import pieces_of_ids, render_chat, tokenize

MAX_ANSWERS = 128
"""`n` times the number of prompts. vLLM allows more; this much is OpenAI's limit for `n`, and keeps a laptop alive."""

_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}


class ApiError(Exception):
    """A request that is answered with an error. `type` defaults to vLLM's for the status code."""

    def __init__(self, status: int, message: str, *, kind: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind or _TYPES.get(status, "InternalServerError" if status >= 500 else "BadRequestError")
        self.param = param

    def body(self) -> bytes:
        return error_body(self.status, self.message, kind=self.kind, param=self.param)


def given_up() -> ApiError:
    """What a client is told where the engine fails at its request, also in the midst of a stream."""
    return ApiError(500, "Internal server error")


def error_body(status: int, message: str, *, kind: str, param: str | None = None) -> bytes:
    """`{"error": {...}}` as vLLM and OpenAI write it."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": status}})


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class ResponseFormat(msgspec.Struct):
    type: str = "text"


class _Sampling(msgspec.Struct, kw_only=True):
    """What both endpoints have in common. Unknown fields are ignored, as vLLM does; null means: not given."""

    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1)] | None = 1
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    min_tokens: Annotated[int, Meta(ge=0)] | None = 0
    ignore_eos: bool | None = False
    stop: str | list[str] | None = None
    include_stop_str_in_output: bool | None = False
    seed: int | None = None
    temperature: Annotated[float, Meta(ge=0)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    response_format: ResponseFormat | None = None
    request_id: str | None = None
    user: str | None = None

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def answers(self) -> int:
        return self.n or 1


class CompletionRequest(_Sampling, kw_only=True):
    """Body of `POST /v1/completions`."""

    prompt: Any = None
    echo: bool | None = False
    suffix: str | None = None
    logprobs: Annotated[int, Meta(ge=0)] | None = None
    best_of: int | None = None


class ContentPart(msgspec.Struct):
    type: str
    text: str | None = None


class Message(msgspec.Struct):
    role: Annotated[str, Meta(min_length=1, max_length=64)]
    content: str | list[ContentPart] | None = None
    name: str | None = None


class ChatRequest(_Sampling, kw_only=True):
    """Body of `POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Meta(ge=0)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None


class TokenizeRequest(msgspec.Struct, kw_only=True):
    """Body of `POST /tokenize`: a prompt or messages."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    return_token_strs: bool | None = False


class Prompt(msgspec.Struct, frozen=True):
    """One prompt: what the engine reads, and what the answer is about."""

    pieces: list[str]
    question: str

    @property
    def text(self) -> str:
        return "".join(self.pieces)


Body = TypeVar("Body", CompletionRequest, ChatRequest, TokenizeRequest)


def decode(raw: bytes, content_type: str, kind: type[Body]) -> Body:
    """The request body. Raises ApiError 400 for everything that is not well-formed, as vLLM does."""
    if content_type not in {"application/json", "application/octet-stream", ""}:
        raise ApiError(400, f"Unsupported Media Type: only application/json is allowed, got {content_type}", kind=BAD)
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, str(error), kind=BAD, param=_param(str(error))) from error
    except RecursionError as error:
        raise ApiError(400, "the body is nested too deeply", kind=BAD) from error


BAD = "Bad Request"
"""The error type of a body that does not validate: vLLM answers those before they reach an endpoint."""


def _param(message: str) -> str | None:
    _, found, path = message.rpartition("at `$.")
    return path.rstrip("`") if found else None


def check_common(request: CompletionRequest | ChatRequest, *, max_logprobs: int) -> None:
    """Rules that concern several fields. Raises ApiError 400."""
    if request.stream_options is not None and not request.stream:
        raise ApiError(400, "Stream options can only be defined when `stream=True`.", param="stream_options")
    if any(not stop for stop in request.stops):
        raise ApiError(400, "stop must not contain an empty string", param="stop")
    if request.min_tokens and request.max_tokens and request.min_tokens > request.max_tokens:
        raise ApiError(400, "min_tokens must be less than or equal to max_tokens", param="min_tokens")
    if request.response_format is not None and request.response_format.type not in {"text", "json_object"}:
        raise ApiError(
            400,
            f"response_format {request.response_format.type!r}: the simulated model can only answer with "
            "'text' or 'json_object'",
            param="response_format",
        )
    asked = request.logprobs if isinstance(request, CompletionRequest) else request.top_logprobs
    if asked and 0 <= max_logprobs < asked:
        raise ApiError(400, f"Requested {asked} logprobs, --max-logprobs allows {max_logprobs}.", param="logprobs")


def completion_prompts(request: CompletionRequest) -> list[Prompt]:
    """The prompts of a completion: text, texts, token numbers, or lists of them. Raises ApiError 400."""
    if request.suffix:
        raise ApiError(400, "suffix is not currently supported", param="suffix")
    given = request.prompt
    if isinstance(given, str):
        prompts = [_text_prompt(given)]
    elif isinstance(given, list) and given and all(isinstance(item, str) for item in given):
        prompts = [_text_prompt(item) for item in given]
    elif _is_ids(given):
        prompts = [_ids_prompt(given)]
    elif isinstance(given, list) and given and all(_is_ids(item) for item in given):
        prompts = [_ids_prompt(item) for item in given]
    else:
        raise ApiError(400, "prompt must be a text, texts, token numbers, or lists of them", param="prompt")
    if any(not prompt.pieces for prompt in prompts):
        raise ApiError(400, "The decoder prompt cannot be empty", param="prompt")
    _check_answers(len(prompts), request.answers)
    return prompts


def chat_prompt(request: ChatRequest, *, auto_tools: bool) -> Prompt:
    """The prompt of a conversation. Raises ApiError 400."""
    if request.tools and request.tool_choice in {None, "auto"} and not auto_tools:
        raise ApiError(
            400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', param="tools"
        )
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "when using `top_logprobs`, `logprobs` must be set to true.", param="top_logprobs")
    if not request.tools and request.tool_choice not in {None, "none", "auto"}:
        raise ApiError(400, "When using `tool_choice`, `tools` must be set.", param="tool_choice")
    _check_answers(1, request.answers)
    return messages_prompt(request.messages)


def messages_prompt(messages: list[Message]) -> Prompt:
    turns = [(message.role, _content(message)) for message in messages]
    question = next((text for role, text in reversed(turns) if role == "user"), turns[-1][1])
    return Prompt(tokenize(render_chat(turns)), question)


def answer_budget(request: CompletionRequest | ChatRequest, prompt: Prompt, max_model_len: int) -> int:
    """How many tokens the answer may have. Raises ApiError 400 where prompt and answer exceed the context."""
    length = len(prompt.pieces)
    if length >= max_model_len:
        raise ApiError(
            400,
            f"This model's maximum context length is {max_model_len} tokens. However, your request has {length} input "
            "tokens. Please reduce the length of the input.",
            param="input_tokens",
        )
    if isinstance(request, ChatRequest):
        wanted = request.max_completion_tokens or request.max_tokens or max_model_len - length
    else:
        wanted = request.max_tokens or DEFAULT_COMPLETION_TOKENS
        if request.max_tokens is None:
            wanted = min(wanted, max_model_len - length)
    if length + wanted > max_model_len:
        raise ApiError(
            400,
            f"This model's maximum context length is {max_model_len} tokens. However, you requested {length + wanted} "
            f"tokens ({length} in the input, {wanted} in the output). Please reduce one of them.",
            param="max_tokens",
        )
    return wanted


DEFAULT_COMPLETION_TOKENS = 16
"""OpenAI's and vLLM's `max_tokens` of a completion that does not say."""


def _check_answers(prompts: int, each: int) -> None:
    if prompts * each > MAX_ANSWERS:
        raise ApiError(400, f"n times the number of prompts must be at most {MAX_ANSWERS}", param="n")


def _content(message: Message) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    for part in message.content:
        if part.type not in {"text", "input_text", "refusal"}:
            raise ApiError(400, f"content of type {part.type!r}: this model only reads text", param="messages")
    return "\n".join(part.text or "" for part in message.content)


def _is_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in value)
    )


def _text_prompt(text: str) -> Prompt:
    return Prompt(tokenize(text), text)


def _ids_prompt(ids: list[int]) -> Prompt:
    pieces = pieces_of_ids(ids)
    return Prompt(pieces, "".join(pieces))
