"""The simulated engine: continuous batching over a paged KV cache, one step at a time.

As vLLM's scheduler: running requests first, then the queue in order of arrival, prompts in chunks of the step's token
budget, preemption of the youngest when the cache is full. It holds no clock and starts no task: `advance(now)` ends
one step and begins the next, so that tests own time and one ticker drives any number of streams.
"""

from collections import deque
from collections.abc import Callable, Iterable

from outrider.serving.simulator.kv_cache import BlockPool
from outrider.serving.simulator.metrics import EngineMetrics
from outrider.serving.simulator.profile import Profile
from outrider.serving.simulator.sequence import Sequence


class QueueFullError(Exception):
    """A limit on queued work refuses the request. `reason` is the label of `vllm:admission_rejections_total`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Engine:
    """All requests between arrival and last token."""

    def __init__(self, profile: Profile, metrics: EngineMetrics, *, wake: Callable[[], None] = lambda: None) -> None:
        self.profile = profile
        self.slow_factor = 1.0
        self.wedged = False
        self.pool = BlockPool(profile.num_blocks)
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._metrics = metrics
        self._wake = wake
        self._arrivals: list[Sequence] = []
        self._aborted: set[Sequence] = set()
        self._step: list[tuple[Sequence, int]] | None = None
        """The step in flight: each request with the tokens that it computes."""

    @property
    def unfinished(self) -> int:
        return len(self.waiting) + len(self.running) + len(self._arrivals)

    def submit(self, sequences: Iterable[Sequence], now: float) -> None:
        """Queue the answers of one request. Raises QueueFullError, and then queues none of them."""
        new = list(sequences)
        self._check_queue(len(new))
        for sequence in new:
            sequence.arrived = now
        self._arrivals += new
        self._wake()

    def abort(self, sequences: Iterable[Sequence]) -> None:
        """Forget these answers at the next step: their client has gone. Finished ones are left as they are."""
        gone = {sequence for sequence in sequences if not sequence.finished}
        if gone:
            self._aborted |= gone
            self._wake()

    def advance(self, now: float) -> float | None:
        """End the step in flight and begin the next. Its length in seconds; None when there is nothing to do.

        A wedged engine does nothing at all, and forgets nothing.
        """
        if self.wedged:
            return None
        self._finish_step(now)
        self._remove_aborted()
        self.waiting.extend(self._arrivals)
        self._arrivals.clear()
        self._step = self._schedule(now)
        self._metrics.show(running=self.running, waiting=self.waiting, cache_usage=self.pool.usage)
        if not self._step:
            self._step = None
            return None
        prefill = sum(tokens for _, tokens in self._step if tokens > 1)
        return self.profile.step_seconds(len(self._step), prefill) * self.slow_factor

    def _check_queue(self, new: int) -> None:
        limit = self.profile.max_queued_requests
        if limit is not None and self.unfinished + new > limit:
            raise QueueFullError("max_num_queued_reqs", f"--max-num-queued-reqs is {limit}; try again later")
        limit = self.profile.max_queued_tokens
        if limit is None:
            return
        prompts = (*self.waiting, *self._arrivals, *self.running)
        if sum(sequence.prompt_length for sequence in prompts if sequence.first_token is None) >= limit:
            raise QueueFullError("max_num_queued_tokens", f"--max-num-queued-tokens is {limit}; try again later")

    def _remove_aborted(self) -> None:
        if not self._aborted:
            return
        for sequence in self.running:
            if sequence in self._aborted:
                self._release(sequence)
        self.running = [sequence for sequence in self.running if sequence not in self._aborted]
        self.waiting = deque(sequence for sequence in self.waiting if sequence not in self._aborted)
        self._arrivals = [sequence for sequence in self._arrivals if sequence not in self._aborted]
        self._aborted.clear()

    # --- the end of a step -------------------------------------------------------------------------------------

    def _finish_step(self, now: float) -> None:
        if self._step is None:
            return
        step, self._step = self._step, None
        tokens = 0
        for sequence, computed in step:
            if sequence in self._aborted:
                continue
            sequence.computed += computed
            self._publish_full_blocks(sequence)
            if sequence.computed >= sequence.length and now >= sequence.not_before:
                tokens += self._emit(sequence, now)
        if tokens:
            self._metrics.iteration(tokens)
            self.running = [sequence for sequence in self.running if not sequence.finished]

    def _emit(self, sequence: Sequence, now: float) -> int:
        """One more token of the answer. Returns the tokens that count for this iteration, the prompt's included."""
        tokens = 1
        if sequence.first_token is None:
            sequence.first_token = now
            tokens += sequence.prompt_length
            self._metrics.first_token(sequence, now)
        elif sequence.last_token is not None:
            self._metrics.next_token(now - sequence.last_token)
        sequence.generated += 1
        sequence.last_token = now
        if sequence.generated >= sequence.answer_length:
            sequence.finished = True
            self._release(sequence)
            self._metrics.finished(sequence, now)
        sequence.on_progress()
        return tokens

    def _publish_full_blocks(self, sequence: Sequence) -> None:
        """Blocks that are full can be shared from now on, as long as every block before them is shared too."""
        if not self.profile.enable_prefix_caching:
            return
        size = self.profile.block_size
        full = sequence.computed // size
        while len(sequence.shared_blocks) < full:
            block = sequence.hashes(len(sequence.shared_blocks) + 1, size)[-1]
            if not self.pool.publish(block):
                return
            sequence.shared_blocks.append(block)
            sequence.private_blocks -= 1

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.shared_blocks, sequence.private_blocks)
        sequence.shared_blocks, sequence.private_blocks = [], 0

    # --- the beginning of a step -------------------------------------------------------------------------------

    def _schedule(self, now: float) -> list[tuple[Sequence, int]]:
        budget = self.profile.max_num_batched_tokens
        step: list[tuple[Sequence, int]] = []
        preempted = False
        position = 0
        while position < len(self.running):
            sequence = self.running[position]
            tokens = min(sequence.length - sequence.computed, budget)
            if not self._make_room(sequence, tokens):
                preempted = True
                break
            step.append((sequence, tokens))
            budget -= tokens
            position += 1
        while not preempted and self.waiting and budget > 0 and len(self.running) < self.profile.max_num_seqs:
            tokens = self._admit(self.waiting[0], budget, now)
            if not tokens:
                break
            step.append((self.running[-1], tokens))
            budget -= tokens
        return step

    def _make_room(self, sequence: Sequence, tokens: int) -> bool:
        """Take the blocks for `tokens` more, preempting the youngest request if need be; False if that was itself."""
        needed = -(-(sequence.computed + tokens) // self.profile.block_size) - sequence.blocks
        while needed > 0 and not self.pool.take((), needed):
            youngest = self.running.pop()
            self._preempt(youngest)
            if youngest is sequence:
                return False
        sequence.private_blocks += max(0, needed)
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self._release(sequence)
        sequence.computed = 0
        sequence.preemptions += 1
        self.waiting.appendleft(sequence)
        self._metrics.preempted()

    def _admit(self, sequence: Sequence, budget: int, now: float) -> int:
        """Start the request at the head of the queue. The tokens that it computes in this step; 0 if it has no room."""
        size = self.profile.block_size
        shared: list[int] = []
        if self.profile.enable_prefix_caching:
            # At least one token must be computed, or there would be nothing to sample the next from.
            hashes = sequence.hashes((sequence.length - 1) // size, size)
            shared = hashes[: self.pool.matching(hashes)]
        cached = len(shared) * size
        tokens = min(sequence.length - cached, budget)
        needed = -(-(cached + tokens) // size) - len(shared)
        if not self.pool.take(shared, needed):
            return 0
        sequence.shared_blocks, sequence.private_blocks, sequence.computed = shared, needed, cached
        if sequence.first_scheduled is None:
            sequence.first_scheduled = now
            sequence.cached_tokens = min(cached, sequence.prompt_length)
            sequence.not_before = now + self.profile.first_token_seconds * self.profile.load(len(self.running) + 1)
            self._metrics.prefix_cache(sequence)
        self.waiting.popleft()
        self.running.append(sequence)
        return tokens
