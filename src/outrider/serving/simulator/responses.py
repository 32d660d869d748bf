"""Bodies of successful answers, whole and in chunks, as vLLM writes them."""

from collections.abc import Sequence as Items
from typing import Any

import msgspec

from outrider.serving.simulator.generation import Answer, logprob
from outrider.serving.simulator.protocol import ChatRequest, CompletionRequest, Prompt

encode = msgspec.json.Encoder().encode
DONE = b"data: [DONE]\n\n"


def event(body: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(body) + b"\n\n"


def usage(prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> dict[str, Any]:
    """Always with `prompt_tokens_details`; a real vLLM needs `--enable-prompt-tokens-details` for that."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }


class Completion:
    """The shape of `/v1/completions`."""

    handler = "/v1/completions"
    prefix = "cmpl"
    whole = "text_completion"
    chunk = "text_completion"

    def __init__(self, request: CompletionRequest) -> None:
        self._logprobs = request.logprobs
        self._echo = bool(request.echo)

    def opening(self, index: int, prompt: Prompt) -> dict[str, Any] | None:
        """What a stream begins with for each choice: the prompt, where it was asked for."""
        if not self._echo:
            return None
        return self._choice(index, prompt.pieces, None, None, offset=0)

    def delta(self, index: int, prompt: Prompt, answer: Answer, start: int, end: int) -> dict[str, Any]:
        """The choice in a chunk that brings the tokens from `start` to `end` of the answer."""
        last = end >= len(answer.pieces)
        offset = (
            (len(prompt.text) if self._echo else 0) + len(answer.text(0, start)) if self._logprobs is not None else 0
        )
        return self._choice(
            index,
            answer.pieces[start:end],
            answer.finish_reason if last else None,
            answer.stop_reason if last else None,
            offset=offset,
        )

    def choice(self, index: int, prompt: Prompt, answer: Answer) -> dict[str, Any]:
        """The choice of a whole answer."""
        pieces = [*prompt.pieces, *answer.pieces] if self._echo else answer.pieces
        return self._choice(index, pieces, answer.finish_reason, answer.stop_reason, offset=0)

    def _choice(
        self, index: int, pieces: Items[str], finish: str | None, stop: str | None, *, offset: int
    ) -> dict[str, Any]:
        logprobs = None
        if self._logprobs is not None:
            values = [logprob(piece) for piece in pieces]
            offsets = []
            for piece in pieces:
                offsets.append(offset)
                offset += len(piece)
            logprobs = {
                "text_offset": offsets,
                "token_logprobs": values,
                "tokens": list(pieces),
                "top_logprobs": [{piece: value} for piece, value in zip(pieces, values, strict=True)],
            }
        return {
            "index": index,
            "text": "".join(pieces),
            "logprobs": logprobs,
            "finish_reason": finish,
            "stop_reason": stop,
        }


class Chat:
    """The shape of `/v1/chat/completions`."""

    handler = "/v1/chat/completions"
    prefix = "chatcmpl"
    whole = "chat.completion"
    chunk = "chat.completion.chunk"

    def __init__(self, request: ChatRequest) -> None:
        self._logprobs = bool(request.logprobs)
        self._top = request.top_logprobs or 0

    def opening(self, index: int, prompt: Prompt) -> dict[str, Any] | None:
        """What a stream begins with for each choice: the role."""
        del prompt
        delta = {"role": "assistant", "content": ""}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def delta(self, index: int, prompt: Prompt, answer: Answer, start: int, end: int) -> dict[str, Any]:
        """The choice in a chunk that brings the tokens from `start` to `end` of the answer."""
        del prompt
        choice: dict[str, Any] = {
            "index": index,
            "delta": {"content": answer.text(start, end)},
            "logprobs": self._logprobs_of(answer.pieces[start:end]),
            "finish_reason": None,
        }
        if end >= len(answer.pieces):
            choice |= {"finish_reason": answer.finish_reason, "stop_reason": answer.stop_reason}
        return choice

    def choice(self, index: int, prompt: Prompt, answer: Answer) -> dict[str, Any]:
        """The choice of a whole answer."""
        del prompt
        return {
            "index": index,
            "message": {"role": "assistant", "content": answer.text(), "refusal": None, "tool_calls": []},
            "logprobs": self._logprobs_of(answer.pieces),
            "finish_reason": answer.finish_reason,
            "stop_reason": answer.stop_reason,
        }

    def _logprobs_of(self, pieces: Items[str]) -> dict[str, Any] | None:
        if not self._logprobs:
            return None
        content = []
        for piece in pieces:
            token = {"token": piece, "logprob": logprob(piece), "bytes": list(piece.encode())}
            content.append({**token, "top_logprobs": [token] if self._top else []})
        return {"content": content}


Shape = Completion | Chat
