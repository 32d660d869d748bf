"""The engine in virtual time: batching, queueing, the KV cache, and what it counts."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from outrider.serving.simulator.engine import Engine, QueueFullError
from outrider.serving.simulator.metrics import EngineMetrics
from outrider.serving.simulator.profile import Profile
from outrider.serving.simulator.sequence import Sequence

PROFILE = Profile(
    weights_bytes=1,
    load_seconds=0,
    max_model_len=256,
    max_num_seqs=4,
    max_num_batched_tokens=64,
    block_size=4,
    num_blocks=64,
    enable_prefix_caching=True,
    first_token_seconds=0.05,
    decode_seconds=0.01,
    prefill_seconds_per_token=0.001,
)


class World:
    """An engine whose time is a number."""

    def __init__(self, **changes: object) -> None:
        self.registry = CollectorRegistry()
        metrics = EngineMetrics(self.registry, model_name="m", max_model_len=256, cache_config={})
        self.engine = Engine(msgspec.structs.replace(PROFILE, **changes), metrics)
        self.now = 0.0
        self.submitted = 0

    def submit(self, prompt: str | int = 4, answer: int = 3, finish: str = "stop", wants: int = 1) -> Sequence:
        """A request whose prompt is that many tokens of its own, or these letters, one token each."""
        self.submitted += 1
        own = [f"{self.submitted}-{position}" for position in range(prompt)] if isinstance(prompt, int) else []
        pieces = own or list(str(prompt))
        sequence = Sequence(
            prompt=pieces,
            answer=["x"] * answer,
            finish_reason="stop" if finish == "stop" else "length",
            max_tokens=answer,
            wants=wants,
        )
        self.engine.submit([sequence], self.now)
        return sequence

    def step(self) -> bool:
        """One step; False when there is nothing more to do."""
        seconds = self.engine.advance(self.now)
        self.now += seconds or 0
        return seconds is not None

    def run(self, limit: int = 10_000) -> None:
        """Until the engine is idle."""
        for _ in range(limit):
            if not self.step():
                return
        raise AssertionError("the engine does not come to rest")

    def value(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(name, {"model_name": "m", "engine": "0", **labels})
        assert found is not None, name
        return found


def test_the_first_token_comes_after_the_fixed_time_and_the_others_step_by_step() -> None:
    world = World()
    sequence = world.submit(prompt=4, answer=3)
    world.run()
    assert sequence.finished
    assert sequence.first_token is not None
    assert sequence.last_token is not None
    assert sequence.first_token == pytest.approx(0.054, abs=0.011)
    assert sequence.last_token - sequence.first_token == pytest.approx(0.02)


def test_a_longer_prompt_takes_longer_to_the_first_token() -> None:
    firsts = []
    for prompt in (4, 200):
        world = World(first_token_seconds=0.0)
        firsts.append(world.submit(prompt=prompt))
        world.run()
    assert firsts[1].first_token == pytest.approx(0.2, abs=0.05)
    assert firsts[0].first_token == pytest.approx(0.014, abs=0.001)


def test_tokens_come_slower_with_more_requests_running() -> None:
    gaps = []
    for others in (0, 3):
        world = World(first_token_seconds=0.0)
        for _ in range(others):
            world.submit(answer=50)
        sequence = world.submit(answer=50)
        world.run()
        assert sequence.first_token is not None
        assert sequence.last_token is not None
        gaps.append(sequence.last_token - sequence.first_token)
    assert gaps[1] > gaps[0]


def test_slow_tokens_stretch_every_step() -> None:
    world = World(first_token_seconds=0.0)
    world.engine.slow_factor = 10
    sequence = world.submit(answer=3)
    world.run()
    assert sequence.last_token is not None
    assert sequence.first_token is not None
    assert sequence.last_token - sequence.first_token == pytest.approx(0.2)


def test_no_more_than_max_num_seqs_run_and_the_rest_wait_in_order() -> None:
    world = World(max_num_seqs=2)
    sequences = [world.submit(answer=5) for _ in range(5)]
    world.step()
    assert world.value("vllm:num_requests_running") == 2
    assert world.value("vllm:num_requests_waiting") == 3
    assert world.value("vllm:num_requests_waiting_by_reason", reason="capacity") == 3
    world.run()
    firsts = [sequence.first_token or 0 for sequence in sequences]
    assert firsts == sorted(firsts)
    assert world.value("vllm:num_requests_running") == 0
    assert world.value("vllm:num_requests_waiting") == 0


def test_requests_wait_while_the_cache_is_full() -> None:
    """As measured on a real server: few blocks, so some run, some wait, and usage is near one."""
    world = World(num_blocks=10)
    for _ in range(3):
        world.submit(prompt=16, answer=4)
    world.step()
    assert world.value("vllm:num_requests_running") == 2
    assert world.value("vllm:num_requests_waiting") == 1
    assert world.value("vllm:kv_cache_usage_perc") == pytest.approx(0.8)
    world.run()
    assert world.value("vllm:kv_cache_usage_perc") == 0


def test_the_youngest_is_preempted_when_the_cache_fills_up_and_still_ends() -> None:
    world = World(num_blocks=10)
    old, young = world.submit(prompt=16, answer=20), world.submit(prompt=16, answer=20)
    world.run()
    assert old.finished
    assert young.finished
    assert old.preemptions == 0
    assert young.preemptions > 0
    assert (old.generated, young.generated) == (20, 20)
    assert world.value("vllm:num_preemptions_total") == young.preemptions
    assert world.value("vllm:request_num_preemptions_sum") == young.preemptions
    assert world.engine.pool.available == 10


PREFIXES = {
    "the same prompt hits all whole blocks but the last, of which one token must be computed": (
        "abcdefgh",
        "abcdefgh",
        4,
    ),
    "a longer prompt hits all blocks of the shorter": ("abcdefgh", "abcdefghij", 8),
    "a common beginning hits its whole blocks": ("abcdefgh", "abcdXfgh", 4),
    "part of a block is no hit": ("abcdefgh", "abcXefgh", 0),
    "a block counts only after the same prefix": ("abcdefgh", "Xbcdefgh", 0),
    "a prompt shorter than a block never hits": ("abc", "abc", 0),
}


@pytest.mark.parametrize("case", PREFIXES)
def test_prefix_cache(case: str) -> None:
    first, second, hit = PREFIXES[case]
    world = World()
    world.submit(first)
    world.run()
    sequence = world.submit(second)
    world.run()
    assert sequence.cached_tokens == hit
    assert world.value("vllm:prefix_cache_queries_total") == len(first) + len(second)
    assert world.value("vllm:prefix_cache_hits_total") == hit
    assert world.value("vllm:prompt_tokens_by_source_total", source="local_cache_hit") == hit
    assert world.value("vllm:request_prefill_kv_computed_tokens_sum") == len(first) + len(second) - hit


def test_the_answer_is_cached_for_the_next_turn_of_a_conversation() -> None:
    world = World()
    world.submit("abcd", answer=9)
    world.run()
    follow_up = world.submit("abcd" + "x" * 8 + "next")
    world.run()
    assert follow_up.cached_tokens == 12


def test_without_prefix_caching_nothing_hits() -> None:
    world = World(enable_prefix_caching=False)
    for _ in range(2):
        world.submit("abcdefgh")
        world.run()
    assert world.value("vllm:prefix_cache_hits_total") == 0


def test_a_request_whose_client_left_frees_its_slot_and_counts_for_no_reason() -> None:
    world = World(max_num_seqs=1)
    gone, patient = world.submit(answer=1000), world.submit(answer=2)
    for _ in range(20):
        world.step()
    assert gone.generated > 0
    world.engine.abort([gone])
    world.run()
    assert patient.finished
    assert not gone.finished
    reasons = ("stop", "length", "abort", "error", "repetition")
    counted = {reason: world.value("vllm:request_success_total", finished_reason=reason) for reason in reasons}
    assert counted == {"stop": 1, "length": 0, "abort": 0, "error": 0, "repetition": 0}
    assert world.engine.pool.available == PROFILE.num_blocks


def test_a_request_that_leaves_while_waiting_is_forgotten() -> None:
    world = World(max_num_seqs=1)
    world.submit(answer=5)
    gone = world.submit(answer=5)
    world.step()
    world.engine.abort([gone])
    world.run()
    assert gone.first_scheduled is None


def test_a_wedged_engine_moves_nothing_and_goes_on_where_it_was() -> None:
    world = World()
    sequence = world.submit(answer=50)
    for _ in range(10):
        world.step()
    before = sequence.generated
    world.engine.wedged = True
    late = world.submit(answer=1)
    assert not world.step()
    assert (sequence.generated, late.generated) == (before, 0)
    assert world.value("vllm:num_requests_running") == 1, "the gauge keeps its last value"
    world.engine.wedged = False
    world.run()
    assert sequence.finished
    assert late.finished


def test_what_one_request_counts() -> None:
    """The same request as in the capture of a real server: 2 tokens in, 4 out."""
    world = World()
    world.submit(prompt=2, answer=4, finish="length")
    world.run()
    expected = {
        "vllm:prompt_tokens_total": 2,
        "vllm:generation_tokens_total": 4,
        "vllm:prefix_cache_queries_total": 2,
        "vllm:iteration_tokens_total_count": 4,
        "vllm:iteration_tokens_total_sum": 6,
        "vllm:time_to_first_token_seconds_count": 1,
        "vllm:inter_token_latency_seconds_count": 3,
        "vllm:request_time_per_output_token_seconds_count": 1,
        "vllm:e2e_request_latency_seconds_count": 1,
        "vllm:request_queue_time_seconds_count": 1,
        "vllm:request_inference_time_seconds_count": 1,
        "vllm:request_prefill_time_seconds_count": 1,
        "vllm:request_decode_time_seconds_count": 1,
        "vllm:request_prompt_tokens_sum": 2,
        "vllm:request_generation_tokens_sum": 4,
        "vllm:request_max_num_generation_tokens_sum": 4,
        "vllm:request_params_max_tokens_sum": 4,
        "vllm:request_params_n_sum": 1,
        "vllm:request_prefill_kv_computed_tokens_sum": 2,
    }
    assert {name: world.value(name) for name in expected} == expected
    assert world.value("vllm:request_success_total", finished_reason="length") == 1


def test_phases_add_up_to_the_whole() -> None:
    world = World(max_num_seqs=1)
    world.submit(answer=5)
    world.submit(answer=5)
    world.run()
    seconds = {
        phase: world.value(f"vllm:{phase}_seconds_sum")
        for phase in ("e2e_request_latency", "request_queue_time", "request_inference_time")
    }
    assert seconds["request_queue_time"] > 0
    assert seconds["e2e_request_latency"] == pytest.approx(
        seconds["request_queue_time"] + seconds["request_inference_time"]
    )


def test_a_full_queue_refuses_and_counts_why() -> None:
    world = World(max_queued_requests=2)
    world.submit()
    world.submit()
    with pytest.raises(QueueFullError) as refused:
        world.submit()
    assert refused.value.reason == "max_num_queued_reqs"
    world.run()
    world.submit()


def test_prompts_that_wait_for_their_first_token_fill_the_token_limit() -> None:
    world = World(max_queued_tokens=10)
    world.submit(prompt=12)
    with pytest.raises(QueueFullError) as refused:
        world.submit(prompt=1)
    assert refused.value.reason == "max_num_queued_tokens"


def test_a_prompt_longer_than_a_step_is_read_in_chunks_while_others_go_on() -> None:
    world = World(first_token_seconds=0.0)
    talking = world.submit(answer=100)
    for _ in range(3):
        world.step()
    before = talking.generated
    reading = world.submit(prompt=200, answer=1)
    while not reading.finished:
        assert world.step()
    assert talking.generated >= before + 200 // PROFILE.max_num_batched_tokens


arrivals = st.lists(
    st.tuples(
        st.integers(1, 30),  # prompt
        st.integers(1, 12),  # answer
        st.integers(0, 8),  # steps until the next arrives
        st.booleans(),  # whether its client leaves then
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(arrivals, st.integers(1, 5), st.integers(11, 40), st.integers(1, 40))
def test_every_request_ends_and_every_block_comes_back(
    requests: list[tuple[int, int, int, bool]], max_num_seqs: int, num_blocks: int, budget: int
) -> None:
    world = World(max_num_seqs=max_num_seqs, num_blocks=num_blocks, max_num_batched_tokens=max(budget, max_num_seqs))
    kept = []
    for prompt, answer, steps, leaves in requests:
        sequence = world.submit("abcdefghijklmnopqrstuvwxyzabcd"[:prompt], answer)
        for _ in range(steps):
            world.step()
            assert len(world.engine.running) <= max_num_seqs
            assert 0 <= world.engine.pool.available <= num_blocks
        if leaves:
            world.engine.abort([sequence])
        else:
            kept.append(sequence)
    world.run()
    assert all(sequence.finished and sequence.generated == sequence.answer_length for sequence in kept)
    assert world.engine.pool.available == num_blocks
    assert world.engine.unfinished == 0
