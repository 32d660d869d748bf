"""The engine's metrics, as vLLM 0.32 names, types, labels, describes and buckets them.

Every series of a real server's /metrics is here except those that `tests/serving` lists with a reason.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from outrider.serving.simulator.sequence import Sequence

LABELS = ("model_name", "engine")
ENGINE = "0"
"""Index of the data-parallel engine. There is one."""

REQUEST_SECONDS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
)  # fmt: skip
FIRST_TOKEN_SECONDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip
TOKEN_SECONDS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
ITERATION_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
PREEMPTIONS = (1, 2, 3, 4, 5, 10, 20)
ANSWERS = (1, 2, 5, 10, 20)

_UNUSED_COUNTERS = {
    "vllm:estimated_flops_per_gpu": "Estimated number of floating point operations per GPU (for Model Flops "
    "Utilization calculations).",
    "vllm:estimated_read_bytes_per_gpu": "Estimated number of bytes read from memory per GPU (for Model Flops "
    "Utilization calculations).",
    "vllm:estimated_write_bytes_per_gpu": "Estimated number of bytes written to memory per GPU (for Model Flops "
    "Utilization calculations).",
    "vllm:external_prefix_cache_queries": "External prefix cache queries from KV connector cross-instance cache "
    "sharing, in terms of number of queried tokens.",
    "vllm:external_prefix_cache_hits": "External prefix cache hits from KV connector cross-instance cache sharing, "
    "in terms of number of cached tokens.",
    "vllm:mm_cache_queries": "Multi-modal cache queries, in terms of number of queried items.",
    "vllm:mm_cache_hits": "Multi-modal cache hits, in terms of number of cached items.",
}
"""Zero in vLLM too as long as what they count is off: MFU metrics, KV connectors, images."""


def buckets_1_2_5(largest: int) -> tuple[int, ...]:
    """1, 2, 5, 10, 20, 50 ... up to `largest`: vLLM's buckets for numbers of tokens, up to the context's length."""
    steps = (mantissa * 10**exponent for exponent in range(len(str(largest))) for mantissa in (1, 2, 5))
    return tuple(step for step in steps if step <= largest)


class EngineMetrics:
    """What the engine reports. One object for one registry."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        model_name: str,
        max_model_len: int,
        cache_config: Mapping[str, str],
        max_loras: int | None = None,
    ) -> None:
        """`max_loras` is None where LoRA is off: then `vllm:lora_requests_info` does not exist, as in vLLM."""
        self._registry = registry
        self._model_name = model_name
        self._values = {"model_name": model_name, "engine": ENGINE}
        GCCollector(registry)
        PlatformCollector(registry)
        ProcessCollector(registry=registry)
        self._make_gauges()
        self._make_counters()
        self._make_histograms(buckets_1_2_5(max_model_len))
        self._lora_shown = ("", "")
        self._make_lora(max_loras)
        # The only engine metric without `model_name`, in vLLM too.
        labels = {"engine": ENGINE, **cache_config}
        text = "Information of the LLMEngine CacheConfig"
        Gauge("vllm:cache_config_info", text, tuple(labels), registry=registry).labels(**labels).set(1)

    # --- what the engine tells ---------------------------------------------------------------------------------

    def show(self, *, running: Collection[Sequence], waiting: Collection[Sequence], cache_usage: float) -> None:
        """The gauges, once a step: a wedged engine leaves them at their last value."""
        self._running.set(len(running))
        self._waiting.set(len(waiting))
        self._waiting_capacity.set(len(waiting))
        self._cache_usage.set(cache_usage)
        if self._lora is not None:
            names = (_adapters(running), _adapters(waiting))
            if names != self._lora_shown:
                self._lora_shown = names
                self._lora.labels(str(self._max_loras), *names).set_to_current_time()

    def prefix_cache(self, sequence: Sequence) -> None:
        """A prompt was looked up in the prefix cache, when its request was first scheduled."""
        self._cache_queries.inc(sequence.prompt_length)
        self._cache_hits.inc(sequence.cached_tokens)
        self._cached_on_device.inc(sequence.cached_tokens)

    def iteration(self, tokens: int) -> None:
        self._iteration.observe(tokens)

    def first_token(self, sequence: Sequence, now: float) -> None:
        self._first_token.observe(now - sequence.arrived)
        self._generated.inc()
        self._prompt_tokens.inc(sequence.prompt_length)
        self._prompt_computed.inc(sequence.prompt_length - sequence.cached_tokens)
        self._prompt_cache_hit.inc(sequence.cached_tokens)
        self._prompt_cached.inc(sequence.cached_tokens)

    def next_token(self, seconds: float) -> None:
        self._generated.inc()
        self._inter_token.observe(seconds)

    def preempted(self) -> None:
        self._preemptions.inc()

    def finished(self, sequence: Sequence, now: float) -> None:
        """The last token came. Only answers that end by themselves are counted: vLLM counts none that a client left."""
        scheduled = sequence.first_scheduled if sequence.first_scheduled is not None else now
        first = sequence.first_token if sequence.first_token is not None else now
        self._success[sequence.finish_reason].inc()
        self._end_to_end.observe(now - sequence.arrived)
        self._queue.observe(scheduled - sequence.arrived)
        self._inference.observe(now - scheduled)
        self._prefill.observe(first - scheduled)
        self._decode.observe(now - first)
        self._per_output_token.observe((now - first) / max(1, sequence.generated - 1))
        self._request_prompt.observe(sequence.prompt_length)
        self._request_generated.observe(sequence.generated)
        self._request_max_generated.observe(sequence.max_tokens)
        self._params_max_tokens.observe(sequence.max_tokens)
        self._params_n.observe(sequence.wants)
        self._request_preemptions.observe(sequence.preemptions)
        self._request_computed.observe(sequence.prompt_length - sequence.cached_tokens)

    def rejected(self, reason: str) -> None:
        """A queue limit refused a request: `max_num_queued_reqs` or `max_num_queued_tokens`."""
        self._rejections[reason].inc()

    # --- how they are made -------------------------------------------------------------------------------------

    def _make_gauges(self) -> None:
        for name, text in list(_UNUSED_COUNTERS.items())[:3]:
            self._counter(name, text)
        self._running = self._gauge("num_requests_running", "Number of requests in model execution batches.")
        self._waiting = self._gauge("num_requests_waiting", "Number of requests waiting to be processed.")
        by_reason = self._labelled(
            Gauge,
            "num_requests_waiting_by_reason",
            "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; "
            "'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all "
            "reasons equals vllm:num_requests_waiting.",
            "reason",
            ("capacity", "deferred"),
        )
        self._waiting_capacity = by_reason["capacity"]
        sleep = self._labelled(
            Gauge,
            "engine_sleep_state",
            "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; "
            "weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",
            "sleep_state",
            ("awake", "weights_offloaded", "discard_all"),
        )
        sleep["awake"].set(1)
        self._cache_usage = self._gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")

    def _make_counters(self) -> None:
        counter = self._counter
        self._cache_queries = counter(
            "prefix_cache_queries", "Prefix cache queries, in terms of number of queried tokens."
        )
        self._cache_hits = counter("prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.")
        for name, text in list(_UNUSED_COUNTERS.items())[3:]:
            counter(name, text)
        self._preemptions = counter("num_preemptions", "Cumulative number of preemption from the engine.")
        self._prompt_tokens = counter("prompt_tokens", "Number of prefill tokens processed.")
        by_source = self._labelled(
            Counter,
            "prompt_tokens_by_source",
            "Number of prompt tokens by source.",
            "source",
            ("local_compute", "local_cache_hit", "external_kv_transfer"),
        )
        self._prompt_computed, self._prompt_cache_hit = by_source["local_compute"], by_source["local_cache_hit"]
        self._prompt_cached = counter("prompt_tokens_cached", "Number of cached prompt tokens (local + external).")
        self._cached_on_device = self._labelled(
            Counter,
            "prompt_tokens_cached_by_source",
            "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded to "
            "DRAM), disk, p2p (transferred from another vLLM instance) or external_unspecified. Counted at "
            "admission; sums to vllm:prefix_cache_hits + vllm:external_prefix_cache_hits.",
            "source",
            ("device", "host", "p2p", "disk", "external_unspecified"),
        )["device"]
        self._generated = counter("generation_tokens", "Number of generation tokens processed.")
        self._success = self._labelled(
            Counter,
            "request_success",
            "Count of successfully processed requests.",
            "finished_reason",
            ("stop", "length", "abort", "error", "repetition"),
        )
        rejections = Counter(
            "vllm:admission_rejections",
            "Number of admission attempts rejected by a queue limit, by reason.",
            ("model_name", "reason"),
            registry=self._registry,
        )
        self._rejections = {
            reason: rejections.labels(self._model_name, reason)
            for reason in ("max_num_queued_reqs", "max_num_queued_tokens")
        }

    def _make_histograms(self, tokens: Iterable[float]) -> None:
        tokens = tuple(tokens)
        histogram = self._histogram
        self._request_prompt = histogram("request_prompt_tokens", "Number of prefill tokens processed.", tokens)
        self._request_generated = histogram(
            "request_generation_tokens", "Number of generation tokens processed.", tokens
        )
        self._iteration = histogram(
            "iteration_tokens_total", "Histogram of number of tokens per engine_step.", ITERATION_TOKENS
        )
        self._request_max_generated = histogram(
            "request_max_num_generation_tokens", "Histogram of maximum number of requested generation tokens.", tokens
        )
        self._params_n = histogram("request_params_n", "Histogram of the n request parameter.", ANSWERS)
        self._params_max_tokens = histogram(
            "request_params_max_tokens", "Histogram of the max_tokens request parameter.", tokens
        )
        self._first_token = histogram(
            "time_to_first_token_seconds", "Histogram of time to first token in seconds.", FIRST_TOKEN_SECONDS
        )
        self._inter_token = histogram(
            "inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", TOKEN_SECONDS
        )
        self._per_output_token = histogram(
            "request_time_per_output_token_seconds",
            "Histogram of time_per_output_token_seconds per request.",
            TOKEN_SECONDS,
        )
        self._end_to_end = histogram(
            "e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", REQUEST_SECONDS
        )
        self._queue = self._phase("queue", "WAITING")
        self._inference = self._phase("inference", "RUNNING")
        self._prefill = self._phase("prefill", "PREFILL")
        self._decode = self._phase("decode", "DECODE")
        self._request_preemptions = histogram(
            "request_num_preemptions", "Histogram of the number of times a request was preempted.", PREEMPTIONS
        )
        self._request_computed = histogram(
            "request_prefill_kv_computed_tokens",
            "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
            tokens,
        )

    def _make_lora(self, max_loras: int | None) -> None:
        self._max_loras = max_loras
        self._lora: Gauge | None = None
        if max_loras is not None:
            self._lora = Gauge(
                "vllm:lora_requests_info",
                "Running stats on lora requests.",
                ("max_lora", "running_lora_adapters", "waiting_lora_adapters"),
                registry=self._registry,
            )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"vllm:{name}", text, LABELS, registry=self._registry).labels(**self._values)

    def _counter(self, name: str, text: str) -> Counter:
        full = f"vllm:{name.removeprefix('vllm:')}"
        return Counter(full, text, LABELS, registry=self._registry).labels(**self._values)

    def _histogram(self, name: str, text: str, buckets: Iterable[float]) -> Histogram:
        bounds = (*buckets, math.inf)
        return Histogram(f"vllm:{name}", text, LABELS, buckets=bounds, registry=self._registry).labels(**self._values)

    def _phase(self, name: str, phase: str) -> Histogram:
        text = f"Histogram of time spent in {phase} phase for request."
        return self._histogram(f"request_{name}_time_seconds", text, REQUEST_SECONDS)

    def _labelled(
        self, kind: type[Gauge] | type[Counter], name: str, text: str, label: str, values: Iterable[str]
    ) -> dict[str, Any]:
        """One metric with a further label, whose values all exist from the start."""
        metric = kind(f"vllm:{name}", text, (*LABELS, label), registry=self._registry)
        return {value: metric.labels(**self._values, **{label: value}) for value in values}


def _adapters(sequences: Iterable[Sequence]) -> str:
    """The LoRA adapters at work, as vLLM lists them in a label."""
    return ",".join(sorted({sequence.adapter for sequence in sequences if sequence.adapter}))


def cache_config(
    *,
    block_size: int,
    num_blocks: int,
    max_model_len: int,
    gpu_memory_utilization: float,
    cache_dtype: str,
    prefix_caching: bool,
    cache_bytes: int | None,
    blocks_override: int | None,
    block_size_given: bool,
) -> dict[str, str]:
    """Labels of `vllm:cache_config_info`: what is simulated, and vLLM's defaults for what is not."""
    tokens = block_size * num_blocks
    return {
        "_block_size_resolved": "True",
        "block_size": str(block_size),
        "cache_dtype": cache_dtype,
        "cache_hit_alignment_tokens": "None",
        "effective_attention_block_size": str(block_size),
        "enable_mamba_shared_prefix_checkpoint": "False",
        "enable_prefix_caching": str(prefix_caching),
        "gpu_memory_utilization": str(gpu_memory_utilization),
        "hash_block_size": "None",
        "is_attention_free": "False",
        "kv_cache_dtype_skip_layers": "[]",
        "kv_cache_layout": "None",
        "kv_cache_max_concurrency": str(tokens / max_model_len),
        "kv_cache_memory_bytes": str(cache_bytes),
        "kv_cache_size_tokens": str(tokens),
        "kv_offloading_backend": "native",
        "kv_offloading_size": "None",
        "kv_sharing_fast_prefill": "False",
        "mamba_block_size": "None",
        "mamba_cache_dtype": "auto",
        "mamba_cache_mode": "none",
        "mamba_page_size_padded": "None",
        "mamba_ssm_cache_dtype": "float32",
        "num_cpu_blocks": "None",
        "num_gpu_blocks": str(num_blocks),
        "num_gpu_blocks_override": str(blocks_override),
        "prefix_cache_retention_interval": "0",
        "prefix_caching_hash_algo": "sha256",
        "prefix_match_unit": "None",
        "replayssm_buffer_len": "16",
        "skip_page_size_padded": "None",
        "sliding_window": "None",
        "swa_bounded_replay": "True",
        "use_kda_recoverssm": "False",
        "use_replayssm": "False",
        "user_specified_block_size": str(block_size_given),
    }
