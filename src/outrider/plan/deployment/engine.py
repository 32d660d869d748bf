"""How a spec becomes arguments of the engine (`vllm serve`), and what the engine cannot do of what it says.

Flags: `vllm serve --help` of vLLM 0.32 (https://docs.vllm.ai/en/v0.32.0/cli/serve/).
"""

from outrider.api.model_uri import ModelUri
from outrider.api.spec import LLMDeploymentSpec
from outrider.api.version import Version

MODEL_PATH = "/models"
"""Where volumes that hold a model are mounted."""

QUANTIZATION_ARGS: dict[str, tuple[str, ...]] = {
    "auto": (),
    "none": (),
    "fp16": ("--dtype=float16",),
    "bf16": ("--dtype=bfloat16",),
    "fp8": ("--quantization=fp8",),
    "int8": (),
    "int4": (),
    "gptq": ("--quantization=gptq",),
    "awq": ("--quantization=awq",),
}
"""What each `spec.model.quantization.type` means to vLLM.

* `fp8`: 16-bit weights become FP8 while they load, without calibration (features/quantization/online).
* `gptq`, `awq`: the checkpoint has to be of that kind, and the engine refuses it where it is not.
* `int8`, `int4`: vLLM runs such checkpoints (compressed-tensors, features/quantization/int8 and int4; gptq and awq have
  4 bits, too), whose own configuration it reads. It makes none of the 16-bit weights of a dense model while loading:
  `int8_per_channel_weight_only` covers only the experts of a mixture, and `bitsandbytes` left vLLM with 0.28
  (vllm-project/vllm#43529): the published image refuses it. So there is nothing to pass, and `limits` says so.
* `auto`, `none`: as published.
"""


def model_argument(uri: ModelUri) -> str:
    """What `vllm serve` is told to serve: a repository, an object store's URI, or a path in the pod."""
    match uri.scheme:
        case "hf":
            return uri.repository
        case "s3" | "gs":
            return f"{uri.scheme}://{uri.location}"
        case "oci":
            return MODEL_PATH
        case "pvc":
            _, _, path = uri.location.partition("/")
            return f"{MODEL_PATH}/{path}".rstrip("/")
        case "file":
            return uri.location
        case _:
            return str(uri)


def source_args(uri: ModelUri, version: Version) -> tuple[str, ...]:
    """Flags that say which files are meant.

    On the Hugging Face hub a version is a revision of the repository, unless the URI names one: a version that does not
    exist there must fail, not quietly serve the newest files.
    """
    if uri.scheme == "hf":
        revision = uri.revision or ("" if version.kind == "latest" else version.text)
        return (f"--revision={revision}",) if revision else ()
    if uri.scheme in {"s3", "gs"}:
        return ("--load-format=runai_streamer",)
    return ()


def engine_args(spec: LLMDeploymentSpec, version: Version, served_names: tuple[str, ...]) -> tuple[str, ...]:
    """All arguments after `vllm serve` that decide how the model answers: no addresses, ports or timeouts."""
    model, serving, parallelism = spec.model, spec.serving, spec.model.parallelism
    args = [model_argument(model.model_uri), "--served-model-name", *served_names]
    args += source_args(model.model_uri, version)
    args += _sizes("--tensor-parallel-size", spec.tensor_parallel_size)
    args += _sizes("--pipeline-parallel-size", parallelism.pipeline)
    args += _sizes("--data-parallel-size", parallelism.data)
    args += QUANTIZATION_ARGS[model.quantization.type]
    if serving.max_sequence_length is not None:
        args.append(f"--max-model-len={serving.max_sequence_length}")
    sequences = [number for number in (serving.batch_size, serving.max_concurrency) if number is not None]
    if sequences:
        args.append(f"--max-num-seqs={min(sequences)}")
    return tuple(args)


def _sizes(flag: str, size: int) -> list[str]:
    return [f"{flag}={size}"] if size > 1 else []


def limits(spec: LLMDeploymentSpec) -> tuple[str, ...]:
    """What the engine cannot do of what the spec says, in sentences for the condition SpecHonoured."""
    found = []
    if (kind := spec.model.quantization.type) in {"int8", "int4"}:
        found.append(
            f"spec.model.quantization.type {kind}: the engine serves {kind} only from an {kind} checkpoint; it does "
            "not convert 16-bit weights while loading (fp8 it does)"
        )
    if spec.model.model_uri.scheme in {"http", "https"}:
        scheme = f"{spec.model.model_uri.scheme}://"
        found.append(f"spec.model.modelUri: the engine cannot load from {scheme}; use hf, s3, gs, oci, pvc or file")
    return tuple(found)
