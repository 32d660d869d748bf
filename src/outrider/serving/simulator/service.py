"""The model server without HTTP: engine, faults, settings and the answers that it plans."""

import asyncio
from collections.abc import Callable

import msgspec
from prometheus_client import CollectorRegistry

from outrider.kube.clock import Clock
from outrider.serving.simulator.engine import Engine, QueueFullError
from outrider.serving.simulator.faults import Fate, Faults, MemoryLeak, leak_memory
from outrider.serving.simulator.flags import Flags
from outrider.serving.simulator.generation import Answer, plan_answer
from outrider.serving.simulator.gpus import watch_gpus
from outrider.serving.simulator.metrics import EngineMetrics, cache_config
from outrider.serving.simulator.profile import Profile, fingerprint, make_profile
from outrider.serving.simulator.protocol import ApiError, ChatRequest, CompletionRequest, Prompt, answer_budget
from outrider.serving.simulator.sequence import Sequence
from outrider.serving.simulator.settings import Settings, merge_while_running
from outrider.serving.simulator.ticker import Ticker


class Job(msgspec.Struct, frozen=True):
    """One request at work: its answers, in the order of their index, and what paces them."""

    prompts: list[Prompt]
    """The prompt of each answer."""
    answers: list[Answer]
    sequences: list[Sequence]
    answers_per_prompt: int
    progress: asyncio.Event
    """Set whenever a token has come."""

    @property
    def finished(self) -> bool:
        return all(sequence.finished for sequence in self.sequences)

    @property
    def given_up(self) -> bool:
        """Whether the engine fails at one of them."""
        return any(answer.finish_reason == "error" for answer in self.answers)


class Service:
    """One simulated engine with its settings. `crash` ends the process with an error."""

    def __init__(
        self,
        flags: Flags,
        settings: Settings,
        clock: Clock,
        registry: CollectorRegistry,
        *,
        crash: Callable[[str], None],
    ) -> None:
        """Raises ModelDoesNotFitError."""
        self.flags = flags
        self.clock = clock
        self.registry = registry
        self.profile: Profile = make_profile(flags, settings)
        self.fingerprint = fingerprint(flags)
        self.faults = Faults(settings, seed=flags.seed, crash=crash)
        self.leak = MemoryLeak()
        self.metrics = EngineMetrics(
            registry,
            model_name=flags.names[0],
            max_model_len=self.profile.max_model_len,
            cache_config=cache_config(
                block_size=self.profile.block_size,
                num_blocks=self.profile.num_blocks,
                max_model_len=self.profile.max_model_len,
                gpu_memory_utilization=flags.gpu_memory_utilization,
                cache_dtype=flags.kv_cache_dtype,
                prefix_caching=self.profile.enable_prefix_caching,
                cache_bytes=flags.kv_cache_memory_bytes,
                blocks_override=flags.num_gpu_blocks_override,
                block_size_given=flags.block_size is not None,
            ),
            max_loras=flags.max_loras if flags.enable_lora else None,
        )
        self._wake = asyncio.Event()
        self.engine = Engine(self.profile, self.metrics, wake=self._wake.set)
        self._ticker = Ticker(self.engine, clock, self._wake)
        self._crash = crash
        self._crash_task: asyncio.Task[None] | None = None
        self._apply(settings)

    @property
    def settings(self) -> Settings:
        return self.faults.settings

    async def run(self) -> None:
        """Serve until cancelled."""
        self._start_crash_timer()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ticker.run())
                group.create_task(leak_memory(self.clock, self.faults, self.leak))
                group.create_task(watch_gpus(self.clock, self._crash))
        finally:
            if self._crash_task is not None:
                self._crash_task.cancel()

    def change_settings(self, changes: object) -> Settings:
        """Change some settings while running. Raises SettingsError, and then changes nothing."""
        before, settings = self.settings, merge_while_running(self.settings, changes)
        self.faults.apply(settings)
        self._apply(settings)
        if settings.crash_after_seconds != before.crash_after_seconds:
            self._start_crash_timer()
        return settings

    def model_named(self, name: str | None) -> str:
        """The name that the answer shows for the `model` of a request. Raises ApiError 404 for an unknown one."""
        if not name or name in self.flags.names:
            return self.flags.names[0]
        if name in self.adapters:
            return name
        raise ApiError(404, f"The model `{name}` does not exist.", param="model")

    @property
    def adapters(self) -> dict[str, str]:
        """LoRA adapters by name, with where they come from; none where LoRA is off."""
        return {module.name: module.path for module in self.flags.lora_modules} if self.flags.enable_lora else {}

    def check_lengths(self, request: CompletionRequest | ChatRequest, prompts: list[Prompt]) -> None:
        """Raises ApiError 400 where a prompt with its answer does not fit into the context."""
        for prompt in prompts:
            answer_budget(request, prompt, self.profile.max_model_len)

    def start(self, request: CompletionRequest | ChatRequest, prompts: list[Prompt], fate: Fate) -> Job:
        """Plan the answers and queue them. Raises ApiError: 503 where the queue is full, 400 as `check_lengths`."""
        progress = asyncio.Event()
        job = Job([], [], [], request.answers, progress)
        adapter = request.model if request.model in self.adapters else None
        for prompt in prompts:
            budget = answer_budget(request, prompt, self.profile.max_model_len)
            for index in range(request.answers):
                answer = plan_answer(
                    request, prompt, budget=budget, index=index, seed=self._answer_seed, kind=fate.kind
                )
                answer = answer.given_up() if fate.given_up else answer
                job.prompts.append(prompt)
                job.answers.append(answer)
                job.sequences.append(
                    Sequence(
                        prompt=prompt.pieces,
                        answer=answer.pieces,
                        finish_reason=answer.finish_reason,
                        max_tokens=budget,
                        adapter=adapter or "",
                        on_progress=progress.set,
                        wants=request.answers,
                    )
                )
        try:
            self.engine.submit(job.sequences, self.clock.monotonic())
        except QueueFullError as error:
            self.metrics.rejected(error.reason)
            raise ApiError(503, f"The request queue is full: {error}") from error
        return job

    @property
    def _answer_seed(self) -> int:
        return self.settings.seed or self.flags.seed

    def _apply(self, settings: Settings) -> None:
        self.profile = make_profile(self.flags, settings)
        self.engine.profile = self.profile
        self.engine.slow_factor = settings.slow_token_factor
        self.engine.wedged = settings.wedge
        self._wake.set()

    def _start_crash_timer(self) -> None:
        if self._crash_task is not None:
            self._crash_task.cancel()
            self._crash_task = None
        seconds = self.settings.crash_after_seconds
        if seconds is not None:
            self._crash_task = asyncio.get_running_loop().create_task(self._crash_later(seconds))

    async def _crash_later(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self._crash("crash-after-seconds")
