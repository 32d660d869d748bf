"""How large and how fast the simulated engine is: from the model's size, the GPUs and the settings."""

import math
import zlib
from math import ceil

import msgspec

from outrider.api.catalog import DEFAULT_PARAMETERS, parameters_of, weights_bytes
from outrider.serving.simulator.flags import AUTO_LENGTH, Flags
from outrider.serving.simulator.settings import Settings

SIMULATED_VERSION = "0.32.0"
"""The vLLM release whose flags, answers and metrics are simulated."""

BASE_LOAD_SECONDS = 0.3
"""Of the load, what does not depend on the model's size."""
DEFAULT_MAX_MODEL_LEN = 131_072
"""Context length of the Llama 3.1 family, assumed where `--max-model-len` does not say."""
DEFAULT_MAX_NUM_SEQS = 256
DEFAULT_MAX_NUM_BATCHED_TOKENS = 8192
DEFAULT_BLOCK_SIZE = 16
"""Tokens to a block of the KV cache on a GPU: vLLM's default."""

BYTES_PER_SECOND = 3.35e12 * 0.4
"""Decoding reads every weight once per token: memory bandwidth of an H100 SXM (3.35 TB/s, NVIDIA's data sheet) at an
efficiency of 40 %, which gives 12 ms per token for 8 billion parameters in bfloat16, where 10 to 15 ms are reported."""
COMMUNICATION_COST = 0.05
"""Tensor parallelism costs about 5 % per further GPU: 18 ms per token for 70 billion parameters on 8 GPUs, where 18
to 28 ms are reported."""
PREFILL_BYTES_PER_SECOND = 4e14
"""A prompt token costs two operations per parameter, at 40 % of an H100's 990 TFLOPS: 40 microseconds for 16 GB."""
FIRST_TOKEN_SECONDS = 0.025
"""Tokenising, scheduling and the way through the processes, before the first step's result."""
SHORTEST_STEP_SECONDS = 0.0005
"""No engine is faster, and a ticker without pause would starve everything else."""
LOAD_GROWTH = 1.5
"""A batch of 256 makes a step take 2.5 times as long as a batch of one."""
REFERENCE_BATCH = 256

KV_BYTES_OF_8B = 131_072
"""KV cache of one token for Llama 3.1 8B: 32 layers x 8 heads x 128 x 2 (key, value) x 2 bytes."""
KV_GROWTH = 0.42
"""Fits the same sum for 70B (80 layers: 327,680 bytes) and errs on the safe side for 405B."""

_QUANTIZATION = {
    "awq_marlin": "awq",
    "gptq_marlin": "gptq",
    "bitsandbytes": "int4",
    "fbgemm_fp8": "fp8",
    "ptpc_fp8": "fp8",
    "modelopt": "fp8",
}
"""vLLM's names for `--quantization` that the catalogue knows by another."""


class ModelDoesNotFitError(RuntimeError):
    """The engine cannot start: weights or context do not fit into the GPUs' memory. vLLM exits with code 1."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's sizes and speeds. Seconds and bytes."""

    weights_bytes: int
    load_seconds: float
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    num_blocks: int
    enable_prefix_caching: bool
    first_token_seconds: float
    """Of an idle server, without the prompt's own time."""
    decode_seconds: float
    """One step with one running request."""
    prefill_seconds_per_token: float
    max_queued_requests: int | None = None
    max_queued_tokens: int | None = None

    @property
    def cache_tokens(self) -> int:
        return self.num_blocks * self.block_size

    def load(self, running: int) -> float:
        """How many times as long everything takes with `running` requests as with one."""
        return 1 + LOAD_GROWTH * max(0, running - 1) / REFERENCE_BATCH

    def step_seconds(self, running: int, prefill_tokens: int) -> float:
        """How long a step takes that advances `running` requests and reads `prefill_tokens` of prompts."""
        return self.decode_seconds * self.load(running) + prefill_tokens * self.prefill_seconds_per_token


def make_profile(flags: Flags, settings: Settings) -> Profile:
    """The profile of `flags.model`. Raises ModelDoesNotFitError where vLLM would run out of memory."""
    weights = weights_bytes(flags.model, _QUANTIZATION.get(flags.quantization or "auto", flags.quantization or "auto"))
    block_size = flags.block_size or DEFAULT_BLOCK_SIZE
    token_bytes = _cache_bytes_per_token(flags)
    num_blocks = flags.num_gpu_blocks_override or _cache_bytes(flags, settings, weights) // (token_bytes * block_size)
    if num_blocks < 1:
        raise ModelDoesNotFitError(
            f"No memory is left for the KV cache: the weights take {weights / 1e9:.1f} GB of {flags.gpus} GPU(s) with "
            f"{settings.gpu_memory_gigabytes:g} GB each and --gpu-memory-utilization {flags.gpu_memory_utilization:g}. "
            "Use more GPUs (--tensor-parallel-size), a quantized model, or a larger GPU."
        )
    per_gpu = weights / flags.gpus
    decode = per_gpu / BYTES_PER_SECOND * (1 + COMMUNICATION_COST * (flags.gpus - 1))
    decode = max(SHORTEST_STEP_SECONDS, _seconds(settings.inter_token_latency_ms, decode))
    rate = settings.load_gigabytes_per_second * 1e9
    return Profile(
        weights_bytes=weights,
        load_seconds=BASE_LOAD_SECONDS + weights / rate if settings.load_seconds is None else settings.load_seconds,
        max_model_len=_max_model_len(flags, num_blocks * block_size),
        max_num_seqs=settings.max_num_seqs or flags.max_num_seqs or DEFAULT_MAX_NUM_SEQS,
        max_num_batched_tokens=flags.max_num_batched_tokens or DEFAULT_MAX_NUM_BATCHED_TOKENS,
        block_size=block_size,
        num_blocks=num_blocks,
        enable_prefix_caching=flags.enable_prefix_caching,
        first_token_seconds=_seconds(settings.time_to_first_token_ms, FIRST_TOKEN_SECONDS + decode),
        decode_seconds=decode,
        prefill_seconds_per_token=per_gpu / PREFILL_BYTES_PER_SECOND,
        max_queued_requests=flags.max_num_queued_reqs,
        max_queued_tokens=flags.max_num_queued_tokens,
    )


def fingerprint(flags: Flags) -> str | None:
    """`system_fingerprint` as vLLM builds it: version, parallel layout, and a hash of the configuration.

    The hash covers model, revision and quantization, so that two versions of a model never show the same.
    """
    if flags.fingerprint_mode == "none":
        return None
    if flags.fingerprint_mode == "custom":
        return flags.fingerprint_value
    words = [flags.model, flags.revision, flags.quantization, flags.dtype, flags.max_model_len, flags.gpus]
    parts = ["vllm", SIMULATED_VERSION, f"{zlib.crc32(repr(words).encode()):08x}"]
    if flags.fingerprint_mode == "full":
        if flags.pipeline_parallel_size > 1:
            parts.insert(2, f"pp{flags.pipeline_parallel_size}")
        if flags.tensor_parallel_size > 1:
            parts.insert(2, f"tp{flags.tensor_parallel_size}")
    return "-".join(parts)


def _cache_bytes(flags: Flags, settings: Settings, weights: int) -> int:
    if flags.kv_cache_memory_bytes is not None:
        return flags.kv_cache_memory_bytes * flags.gpus
    memory = settings.gpu_memory_gigabytes * 1e9 * flags.gpu_memory_utilization * flags.gpus
    return max(0, int(memory - weights))


def _cache_bytes_per_token(flags: Flags) -> int:
    parameters = parameters_of(flags.model) or DEFAULT_PARAMETERS
    halved = 2 if flags.kv_cache_dtype.startswith("fp8") else 1
    return max(1, round(KV_BYTES_OF_8B * math.pow(parameters / DEFAULT_PARAMETERS, KV_GROWTH) / halved))


def _max_model_len(flags: Flags, cache_tokens: int) -> int:
    wanted = flags.max_model_len
    if wanted is None or wanted == AUTO_LENGTH:
        return min(DEFAULT_MAX_MODEL_LEN, cache_tokens)
    if wanted > cache_tokens:
        raise ModelDoesNotFitError(
            f"One request of --max-model-len {wanted} tokens does not fit into the KV cache of {cache_tokens} tokens. "
            f"Set --max-model-len to at most {cache_tokens}, or give the engine more memory: a higher "
            f"--gpu-memory-utilization or {ceil(wanted / cache_tokens)} times the GPUs."
        )
    return wanted


def _seconds(milliseconds: float | None, default: float) -> float:
    return default if milliseconds is None else milliseconds / 1000
