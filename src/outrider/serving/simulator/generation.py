"""One answer as it is planned before the engine paces it: its tokens, why it ends, and how it reads."""

import msgspec

from outrider.serving.simulator.answers import Kind, compose
from outrider.serving.simulator.protocol import ChatRequest, CompletionRequest, Prompt
from outrider.serving.simulator.sequence import FinishReason
from outrider.serving.simulator.tokens import token_id, tokenize

LONGEST_PIECE = 9
"""Characters of the longest piece of an ordinary text: so many times the tokens wanted are always enough."""
END = ""
"""The end-of-sequence token: it takes a step and counts as a token, and shows no text."""


class Answer(msgspec.Struct, frozen=True):
    """What will be said. `pieces` has one entry for each token, at least one."""

    pieces: list[str]
    finish_reason: FinishReason
    stop_reason: str | None = None
    """The stop string that ended it."""

    def given_up(self) -> "Answer":
        """What comes of it where the engine fails half-way."""
        return Answer(self.pieces[: max(1, len(self.pieces) // 2)], "error")

    def text(self, start: int = 0, end: int | None = None) -> str:
        return "".join(self.pieces[start:end])


def plan_answer(
    request: CompletionRequest | ChatRequest, prompt: Prompt, *, budget: int, index: int, seed: int, kind: Kind
) -> Answer:
    """The answer number `index` of those that the request asks for: always the same for equal arguments.

    `budget` is the most tokens it may have, `seed` the server's own.
    """
    least = budget if request.ignore_eos else min(request.min_tokens or 0, budget)
    text = compose(
        prompt.question,
        seed=hash((seed, request.seed or 0, index)),
        kind=kind,
        minimum_characters=least * LONGEST_PIECE,
    )
    if request.response_format is not None and request.response_format.type == "json_object":
        text = msgspec.json.encode({"answer": text}).decode()
    pieces = tokenize(text)
    ends_by_itself = len(pieces) < budget and not request.ignore_eos
    if least and len(pieces) > least and not request.ignore_eos:
        pieces = pieces[: _sentence_end(pieces, least, budget)]
        ends_by_itself = len(pieces) < budget
    pieces = pieces[:budget]
    stopped = _stop(pieces, request.stops, include=bool(request.include_stop_str_in_output), least=least)
    if stopped is not None:
        return stopped
    if ends_by_itself:
        return Answer([*pieces, END], "stop")
    return Answer(pieces, "length")


def _sentence_end(pieces: list[str], least: int, budget: int) -> int:
    """The first end of a sentence after `least` tokens, or `budget`."""
    for position in range(least, min(len(pieces), budget)):
        if pieces[position - 1].endswith((".", "。")):
            return position
    return budget


def _stop(pieces: list[str], stops: list[str], *, include: bool, least: int) -> Answer | None:
    """The answer that ends at the first stop string after `least` tokens, if there is one."""
    if not stops:
        return None
    text = "".join(pieces)
    start = len("".join(pieces[:least]))
    found = [(position, stop) for stop in stops if (position := text.find(stop, start)) >= 0]
    if not found:
        return None
    position, stop = min(found)
    kept = tokenize(text[: position + len(stop)] if include else text[:position])
    return Answer(kept if include else [*kept, END], "stop", stop)


def logprob(piece: str) -> float:
    """A made-up but stable log probability: a model that is rather sure of itself."""
    return -(token_id(piece) % 997) / 1000
