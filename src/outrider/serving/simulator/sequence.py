"""One answer being generated, from its arrival to its last token."""

from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import Literal

FinishReason = Literal["stop", "length", "error"]
"""error: the engine gave it up, which vLLM answers with 500, or in the midst of a stream that began with 200."""


class Sequence:
    """What the engine knows of one answer. Its tokens are decided beforehand; the engine decides when they come.

    Times are seconds of the engine's monotonic clock, None until they have happened.
    """

    __slots__ = (
        "adapter", "answer_length", "arrived", "block_hashes", "cached_tokens", "computed", "finish_reason", "finished",
        "first_scheduled", "first_token", "generated", "last_token", "max_tokens", "not_before", "on_progress",
        "preemptions", "private_blocks", "prompt_length", "shared_blocks", "tokens", "wants",
    )  # fmt: skip

    def __init__(
        self,
        *,
        prompt: Items[str],
        answer: Items[str],
        finish_reason: FinishReason,
        max_tokens: int,
        adapter: str = "",
        on_progress: Callable[[], None] = lambda: None,
        wants: int = 1,
    ) -> None:
        self.tokens: list[str] = [*prompt, *answer]
        self.prompt_length = len(prompt)
        self.answer_length = len(answer)
        self.finish_reason: FinishReason = finish_reason
        self.max_tokens = max_tokens
        """What the request allowed, which may be more than the answer has."""
        self.adapter = adapter
        """LoRA adapter, empty for the base model."""
        self.on_progress = on_progress
        """Called whenever `generated` or `finished` has changed."""
        self.wants = wants
        """The request's `n`: answers that it asked for in all."""

        self.generated = 0
        self.computed = 0
        """Tokens whose keys and values are in the cache."""
        self.cached_tokens = 0
        """Tokens of the prompt that were found in the prefix cache."""
        self.preemptions = 0
        self.finished = False
        self.block_hashes: list[int] = []
        self.shared_blocks: list[int] = []
        self.private_blocks = 0

        self.arrived = 0.0
        self.first_scheduled: float | None = None
        self.not_before = 0.0
        """When the first token may come at the earliest."""
        self.first_token: float | None = None
        self.last_token: float | None = None

    @property
    def length(self) -> int:
        """Tokens there are by now."""
        return self.prompt_length + self.generated

    @property
    def blocks(self) -> int:
        return len(self.shared_blocks) + self.private_blocks

    def hashes(self, count: int, block_size: int) -> list[int]:
        """The first `count` block hashes; each covers everything before it, and the adapter."""
        while len(self.block_hashes) < count:
            start = len(self.block_hashes) * block_size
            before = self.block_hashes[-1] if self.block_hashes else hash(self.adapter)
            self.block_hashes.append(hash((before, *self.tokens[start : start + block_size])))
        return self.block_hashes[:count]
