"""One request's reply: whole, or as a stream of server-sent events that ends well or is cut."""

from typing import Any

import msgspec
from aiohttp import web

from outrider.serving.simulator.protocol import given_up
from outrider.serving.simulator.responses import DONE, Shape, event, usage
from outrider.serving.simulator.service import Job

EVENT_STREAM = "text/event-stream; charset=utf-8"


class Reply(msgspec.Struct, frozen=True):
    """What is sent for one job. `head` has the fields that all bodies of the reply share."""

    job: Job
    shape: Shape
    head: dict[str, Any]

    def whole(self) -> dict[str, Any]:
        """The body of a reply that is not streamed."""
        job = self.job
        choices = [
            self.shape.choice(index, prompt, answer)
            for index, (prompt, answer) in enumerate(zip(job.prompts, job.answers, strict=True))
        ]
        return {"object": self.shape.whole, **self.head, "choices": choices, "usage": self.usage()}

    def chunk(self, choices: list[dict[str, Any]], *, with_usage: bool) -> bytes:
        """One event of a streamed reply."""
        body = {"object": self.shape.chunk, **self.head, "choices": choices}
        return event({**body, "usage": self.usage()} if with_usage else body)

    def usage(self) -> dict[str, Any]:
        """Tokens so far. A prompt with several answers counts once."""
        job = self.job
        first_answers = job.sequences[:: job.answers_per_prompt]
        return usage(
            sum(sequence.prompt_length for sequence in first_answers),
            sum(sequence.generated for sequence in job.sequences),
            sum(sequence.cached_tokens for sequence in first_answers),
        )


async def send_stream(
    request: web.Request, reply: Reply, *, include_usage: bool, running_usage: bool, truncate: bool
) -> web.StreamResponse:
    """Send tokens as they come. With `truncate` the connection ends about half-way, as if the process had died.

    Tokens that came in one go are written in one go, one event for each, so that many streams stay cheap.
    """
    job, shape = reply.job, reply.shape
    response = web.StreamResponse(headers={"Content-Type": EVENT_STREAM, "Cache-Control": "no-cache"})
    await response.prepare(request)
    opening = [
        reply.chunk([choice], with_usage=running_usage)
        for index, prompt in enumerate(job.prompts)
        if (choice := shape.opening(index, prompt)) is not None
    ]
    if opening:
        await response.write(b"".join(opening))
    sent = [0] * len(job.sequences)
    cut_at = sum(len(answer.pieces) for answer in job.answers) // 2 if truncate else None
    finished = False
    while not finished:
        await job.progress.wait()
        job.progress.clear()
        finished = job.finished
        events = []
        for index, sequence in enumerate(job.sequences):
            prompt, answer = job.prompts[index], job.answers[index]
            for position in range(sent[index], sequence.generated):
                choice = shape.delta(index, prompt, answer, position, position + 1)
                events.append(reply.chunk([choice], with_usage=running_usage))
            sent[index] = sequence.generated
        if events:
            await response.write(b"".join(events))
        if cut_at is not None and sum(sent) >= cut_at:
            _cut(request)
            return response
    if job.given_up:
        await response.write(b"data: " + given_up().body() + b"\n\n")
    elif include_usage:
        await response.write(reply.chunk([], with_usage=True))
    await response.write(DONE)
    return response


def _cut(request: web.Request) -> None:
    """End the connection after what was written, without the end of the body: clients see a broken stream."""
    if request.transport is not None:
        request.transport.close()
