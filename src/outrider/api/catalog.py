"""What is known of models and GPUs before anything is measured: sizes, default resources, prices.

Parameter counts are those that the model's own repository on huggingface.co states (its safetensors metadata or model
card), to three digits. They size defaults and load-time estimates; nothing is refused because of them.
"""

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from math import ceil

from outrider.api.labels import GPU_RESOURCE
from outrider.api.model_uri import ModelUri
from outrider.api.quantity import Quantity, of_bytes

GIB = 1024**3
BILLION = 10**9

BYTES_PER_PARAMETER: dict[str, float] = {
    "fp16": 2.0,
    "bf16": 2.0,
    "none": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.5,
    "gptq": 0.53,
    "awq": 0.53,
}
"""Bytes that one weight takes. GPTQ and AWQ store 4-bit weights plus a 16-bit scale and a 4-bit zero point for
each group of 128, which is 0.5 + 2.5 / 128 bytes, and leave embeddings in 16 bits: about 0.53 in all."""

DEFAULT_PARAMETERS = 8 * BILLION
"""Assumed for a model that neither the catalogue nor its name tells the size of: the most common size to serve."""

REFERENCE_GPU_BYTES = 80 * 10**9
"""Memory of the GPU that defaults are sized for (A100 80 GB, H100 80 GB)."""
GPU_MEMORY_UTILIZATION = 0.9
"""Share of GPU memory that vLLM takes by default (`--gpu-memory-utilization`)."""
HEADROOM = 1.2
"""Room over the weights for activations and the least useful KV cache: a fifth, the usual rule of thumb."""

DOWNLOAD_BYTES_PER_SECOND = 125_000_000
"""1 Gbit/s: what a node without a local cache can be relied on to fetch weights with."""
ENGINE_START_SECONDS = 300
"""Loading into the GPU, compilation and warm-up after the download; vLLM needs one to five minutes."""
SHORTEST_START_SECONDS = 600


@dataclass(frozen=True)
class KnownModel:
    """A model that the catalogue knows."""

    repository: str
    """`namespace/name` on huggingface.co."""
    parameters: int
    """Total, of which a mixture of experts uses only a part per token: memory needs them all."""
    native_bytes: float = 2.0
    """Bytes per parameter of the published weights: 2 for bf16, 1 for fp8, about 0.6 for MXFP4 (attention in bf16)."""


def _models(*rows: tuple[str, float] | tuple[str, float, float]) -> tuple[KnownModel, ...]:
    return tuple(KnownModel(row[0], round(row[1] * BILLION), row[2] if len(row) > 2 else 2.0) for row in rows)


MODELS: tuple[KnownModel, ...] = _models(
    ("meta-llama/Llama-3.1-8B-Instruct", 8.03),
    ("meta-llama/Llama-3.1-8B", 8.03),
    ("meta-llama/Llama-3.1-70B-Instruct", 70.6),
    ("meta-llama/Llama-3.1-70B", 70.6),
    ("meta-llama/Llama-3.1-405B-Instruct", 406),
    ("meta-llama/Llama-3.1-405B-Instruct-FP8", 406, 1.0),
    ("meta-llama/Llama-3.2-1B-Instruct", 1.24),
    ("meta-llama/Llama-3.2-3B-Instruct", 3.21),
    ("meta-llama/Llama-3.3-70B-Instruct", 70.6),
    ("meta-llama/Meta-Llama-3-8B-Instruct", 8.03),
    ("meta-llama/Meta-Llama-3-70B-Instruct", 70.6),
    ("meta-llama/Llama-2-7b-chat-hf", 6.74),
    ("meta-llama/Llama-2-13b-chat-hf", 13.0),
    ("meta-llama/Llama-2-70b-chat-hf", 69.0),
    ("mistralai/Mistral-7B-Instruct-v0.3", 7.25),
    ("mistralai/Mistral-7B-Instruct-v0.2", 7.24),
    ("mistralai/Mistral-Nemo-Instruct-2407", 12.2),
    ("mistralai/Mistral-Small-24B-Instruct-2501", 23.6),
    ("mistralai/Mistral-Large-Instruct-2407", 123),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46.7),
    ("mistralai/Mixtral-8x22B-Instruct-v0.1", 141),
    ("Qwen/Qwen2.5-0.5B-Instruct", 0.494),
    ("Qwen/Qwen2.5-1.5B-Instruct", 1.54),
    ("Qwen/Qwen2.5-3B-Instruct", 3.09),
    ("Qwen/Qwen2.5-7B-Instruct", 7.62),
    ("Qwen/Qwen2.5-14B-Instruct", 14.8),
    ("Qwen/Qwen2.5-32B-Instruct", 32.8),
    ("Qwen/Qwen2.5-72B-Instruct", 72.7),
    ("Qwen/Qwen3-0.6B", 0.752),
    ("Qwen/Qwen3-1.7B", 2.03),
    ("Qwen/Qwen3-4B", 4.02),
    ("Qwen/Qwen3-8B", 8.19),
    ("Qwen/Qwen3-14B", 14.8),
    ("Qwen/Qwen3-32B", 32.8),
    ("Qwen/Qwen3-30B-A3B", 30.5),
    ("Qwen/Qwen3-235B-A22B", 235),
    ("google/gemma-2-2b-it", 2.61),
    ("google/gemma-2-9b-it", 9.24),
    ("google/gemma-2-27b-it", 27.2),
    ("google/gemma-3-1b-it", 1.00),
    ("google/gemma-3-4b-it", 4.30),
    ("google/gemma-3-12b-it", 12.2),
    ("google/gemma-3-27b-it", 27.4),
    ("openai/gpt-oss-20b", 20.9, 0.63),
    ("openai/gpt-oss-120b", 117, 0.56),
    ("deepseek-ai/DeepSeek-V3", 685, 1.0),
    ("deepseek-ai/DeepSeek-R1", 685, 1.0),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1.78),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 7.62),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", 8.03),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", 32.8),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 70.6),
    ("microsoft/phi-4", 14.7),
    ("microsoft/Phi-3.5-mini-instruct", 3.82),
    ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 1.10),
    ("facebook/opt-125m", 0.125),
)

_SUFFIXES = re.compile(r"-(instruct|chat|it|hf|base|chat-hf|instruct-v[0-9.]+|chat-v[0-9.]+|instruct-[0-9]{4})$")
_SIZE = re.compile(r"(?:^|[^a-z0-9.])(?:([0-9]+)x)?([0-9]+(?:\.[0-9]+)?)([bm])(?=$|[^a-z0-9])", re.ASCII)
_WRITTEN_FORMATS = (
    ("awq", "awq"),
    ("gptq", "gptq"),
    ("fp8", "fp8"),
    ("int8", "int8"),
    ("w8a8", "int8"),
    ("int4", "int4"),
    ("w4a16", "int4"),
)


@lru_cache(maxsize=1024)
def find_model(name: str) -> KnownModel | None:
    """The known model that a repository, its last part, or a nickname without `-instruct` means; None if none.

    `meta-llama/Llama-3.1-8B-Instruct`, `Llama-3.1-8B-Instruct` and `llama-3.1-8b` find the same.
    """
    wanted = name.lower().strip("/")
    for form in (
        lambda text: text,
        lambda text: text.rpartition("/")[2],
        lambda text: _nickname(text.rpartition("/")[2]),
    ):
        found = next((model for model in MODELS if form(model.repository.lower()) == wanted), None)
        if found is not None:
            return found
    return None


def parameters_of(name: str) -> int | None:
    """How many parameters a model has, by the catalogue or by its name (`8B`, `1.5B`, `8x7B`, `350m`); None if unknown.

    `8x7B` counts as eight times seven: up to a fifth too much, since experts share their attention, on the safe side.
    """
    known = find_model(name)
    if known is not None:
        return known.parameters
    sizes = _SIZE.findall(name.lower())
    if not sizes:
        return None
    experts, number, unit = sizes[0]
    return round(float(number) * (BILLION if unit == "b" else 10**6)) * int(experts or 1)


def bytes_per_parameter(name: str, quantization: str) -> float:
    """What one weight takes. `auto` is as published: by catalogue, else name (`-AWQ`, `-FP8`), else 16 bits."""
    if quantization in BYTES_PER_PARAMETER:
        return BYTES_PER_PARAMETER[quantization]
    known = find_model(name)
    if known is not None:
        return known.native_bytes
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((BYTES_PER_PARAMETER[form] for word, form in _WRITTEN_FORMATS if word in words), 2.0)


def weights_bytes(model: ModelUri | str, quantization: str = "auto", parameters: int | None = None) -> int:
    """Size of the weights in bytes once loaded: parameters times bytes per parameter.

    `parameters`, where the spec states them, decides over catalogue and name. An unknown model counts as 8 billion.
    """
    name = model if isinstance(model, str) else model.repository or model.location
    count = parameters or parameters_of(name) or DEFAULT_PARAMETERS
    return round(count * bytes_per_parameter(name, quantization))


def gpus_for(weights: int) -> int:
    """GPUs of 80 GB that hold the weights: the next power of two up to 8, since tensor parallelism must divide the
    attention heads; then whole nodes of 8.
    """
    least = ceil(weights * HEADROOM / (REFERENCE_GPU_BYTES * GPU_MEMORY_UTILIZATION))
    if least <= 8:
        return 1 << (max(least, 1) - 1).bit_length()
    return ceil(least / 8) * 8


def default_resources(weights: int, gpus: int | None = None) -> dict[str, Quantity]:
    """Requests for a model whose spec states none.

    Memory: 8 GiB for the engine's processes, plus the weights, which pass through the page cache while they load, in
    steps of 4 GiB. CPU: 4 per GPU, for tokenising, scheduling and HTTP. An 8-billion-parameter model in int8 gets
    16Gi, 4 CPUs and 1 GPU, which is what the SRE guide's proof of concept asks for. `gpus`, where the spec states
    them, decides over `gpus_for`.
    """
    count = gpus_for(weights) if gpus is None else gpus
    memory = ceil((8 * GIB + weights) / (4 * GIB)) * 4 * GIB
    return {
        "memory": of_bytes(memory),
        "cpu": Quantity.parse(str(4 * max(count, 1))),
        GPU_RESOURCE: Quantity.parse(str(count)),
    }


def start_seconds(weights: int) -> int:
    """How long a pod may take from nothing to serving before that counts as failure: a download at 1 Gbit/s plus five
    minutes of engine start, and never less than ten minutes, the SRE guide's own wait.
    """
    return max(SHORTEST_START_SECONDS, ceil(weights / DOWNLOAD_BYTES_PER_SECOND) + ENGINE_START_SECONDS)


def _nickname(name: str) -> str:
    before = ""
    while before != name:
        before, name = name, _SUFFIXES.sub("", name)
    return name


@dataclass(frozen=True)
class GpuPrice:
    """What one GPU costs for an hour on demand, in US dollars."""

    product: str
    """Value of the node label `nvidia.com/gpu.product`."""
    dollars_per_hour: float
    source: str
    as_of: date


_BOOK = "Life with llm-d, cost chapter"
_BOOK_DATE = date(2024, 12, 31)
"""The book says 'as of 2024'."""

GPU_PRICES: tuple[GpuPrice, ...] = (
    GpuPrice("NVIDIA-A100-SXM4-40GB", 1.89, f"{_BOOK}: CoreWeave", _BOOK_DATE),
    GpuPrice("NVIDIA-A100-PCIE-40GB", 1.89, f"{_BOOK}: CoreWeave", _BOOK_DATE),
    GpuPrice("NVIDIA-A100-SXM4-80GB", 2.49, f"{_BOOK}: CoreWeave", _BOOK_DATE),
    GpuPrice("NVIDIA-A100-80GB-PCIe", 2.49, f"{_BOOK}: CoreWeave", _BOOK_DATE),
    GpuPrice("NVIDIA-H100-80GB-HBM3", 4.49, f"{_BOOK}: upper list price", _BOOK_DATE),
    GpuPrice("NVIDIA-H100-PCIe", 4.20, f"{_BOOK}: lower list price", _BOOK_DATE),
    GpuPrice("Tesla-V100-SXM2-16GB", 2.04, f"{_BOOK}: upper list price", _BOOK_DATE),
    GpuPrice("Tesla-T4", 0.35, _BOOK, _BOOK_DATE),
)


def gpu_price(product: str) -> GpuPrice | None:
    """The price of a GPU by its `nvidia.com/gpu.product` label, `-SHARED` and MIG suffixes aside; None if unknown.

    Unknown is a value: a cost without a price is unknown too, not zero.
    """
    wanted = product.removesuffix("-SHARED").lower()
    return next((price for price in GPU_PRICES if price.product.lower() == wanted), None)
