"""The command line, spelled as `vllm serve` spells it, so that one rendered container runs here and on a GPU.

Flags that change what a client, a scraper or the scheduler of the engine can see are honoured. vLLM's other flags
(kernels, compilation, parallel layouts ...) are accepted and have no effect: `NO_EFFECT` lists them. What neither
vLLM nor we know is refused as vLLM refuses it: `unrecognized arguments`, exit code 2.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from outrider.serving.simulator.no_effect import NO_EFFECT, NOT_SUPPORTED

MULTIPLIERS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
"""As vLLM reads sizes: `32k` is 32,000 and `32K` is 32,768."""
AUTO_LENGTH = -1
"""`--max-model-len auto`: as long as the KV cache has room for."""


class LoraModule(msgspec.Struct, frozen=True):
    name: str
    path: str
    base_model_name: str = ""


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said. Units are vLLM's; None where it did not say and the model decides."""

    model: str
    served_model_name: tuple[str, ...] = ()
    host: str | None = None
    port: int = 8000
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    quantization: str | None = None
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    revision: str | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_num_queued_reqs: int | None = None
    max_num_queued_tokens: int | None = None
    gpu_memory_utilization: float = 0.92
    kv_cache_memory_bytes: int | None = None
    num_gpu_blocks_override: int | None = None
    block_size: int | None = None
    enable_prefix_caching: bool = True
    max_logprobs: int = 20
    seed: int = 0
    shutdown_timeout: float = 0
    """Seconds that running requests may take to end after SIGTERM; 0 aborts them at once."""
    disable_access_log_for_endpoints: tuple[str, ...] = ()
    disable_uvicorn_access_log: bool = False
    api_key: tuple[str, ...] = ()
    enable_request_id_headers: bool = False
    enable_force_include_usage: bool = False
    enable_auto_tool_choice: bool = False
    enable_lora: bool = False
    max_loras: int = 1
    lora_modules: tuple[LoraModule, ...] = ()
    fingerprint_mode: str = "full"
    fingerprint_value: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may write as `model`; the first is the one that responses and metrics show."""
        return self.served_model_name or (self.model,)

    @property
    def gpus(self) -> int:
        return self.tensor_parallel_size * self.pipeline_parallel_size


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Ends the process with code 2, and names the program as vLLM does."""
        self.print_usage(sys.stderr)
        self.exit(2, f"vllm: error: {message}\n")


def parse_flags(arguments: Sequence[str]) -> Flags:
    """The flags in `serve MODEL ...`; ends the process with code 2 and a message where they are wrong."""
    parser = _parser()
    if not arguments or arguments[0] != "serve":
        parser.error("the first argument must be the subcommand 'serve'")
    words = _with_config_file(parser, [_normalise(word) for word in arguments[1:]])
    parsed = vars(parser.parse_args(_drop_json_paths(parser, words)))
    unsupported = sorted(flag for flag in NOT_SUPPORTED if parsed.get(_attribute(flag)))
    if unsupported:
        parser.error(f"{', '.join(unsupported)}: vLLM knows this, the simulated model server does not support it")
    if parsed["model_tag"] and parsed["model"] and parsed["model_tag"] != parsed["model"]:
        parser.error("the model is given twice: as the first argument and by --model")
    parsed["model"] = parsed["model_tag"] or parsed["model"]
    if not parsed["model"]:
        parser.error("the following arguments are required: model_tag")
    known = {name: value for name, value in parsed.items() if name in Flags.__struct_fields__ and value is not None}
    try:
        flags = msgspec.convert(known, Flags)
    except msgspec.ValidationError as error:
        parser.error(str(error))
    if flags.enable_auto_tool_choice and not parsed["tool_call_parser"]:
        parser.error("--enable-auto-tool-choice requires --tool-call-parser")
    return flags


def _parser() -> _Parser:
    parser = _Parser(prog="vllm serve", usage="vllm serve MODEL [vLLM's flags]", allow_abbrev=False)
    add = parser.add_argument
    add("model_tag", nargs="?")
    add("--model")
    add("--served-model-name", nargs="+")
    add("--host")
    add("--port", type=_in_range(int, 0, 65535))
    add("--tensor-parallel-size", "-tp", type=_in_range(int, 1))
    add("--pipeline-parallel-size", "-pp", type=_in_range(int, 1))
    for name in ("--quantization", "--dtype", "--kv-cache-dtype", "--revision", "--fingerprint-value"):
        add(name, *(["-q"] if name == "--quantization" else []))
    add("--max-model-len", type=_model_length)
    for name in ("--max-num-seqs", "--max-num-queued-reqs", "--num-gpu-blocks-override", "--block-size", "--max-loras"):
        add(name, type=_in_range(int, 1))
    for name in ("--max-num-batched-tokens", "--max-num-queued-tokens", "--kv-cache-memory-bytes"):
        add(name, type=_size)
    add("--gpu-memory-utilization", type=_in_range(float, 0.01, 1))
    add("--max-logprobs", type=_in_range(int, -1))
    add("--seed", type=int)
    add("--shutdown-timeout", type=_in_range(float, 0))
    add("--disable-access-log-for-endpoints", type=_endpoints)
    add("--api-key", nargs="*")
    add("--lora-modules", nargs="+", type=_lora_module)
    add("--fingerprint-mode", choices=["full", "hash", "custom", "none"])
    add("--tool-call-parser")
    add("--config")
    for name in (
        "--enable-prefix-caching",
        "--enable-lora",
        "--disable-uvicorn-access-log",
        "--enable-request-id-headers",
        "--enable-force-include-usage",
        "--enable-auto-tool-choice",
    ):
        add(name, action=argparse.BooleanOptionalAction)
    for name, arity in (NO_EFFECT | NOT_SUPPORTED).items():
        _add_by_arity(parser, name, arity)
    return parser


def _add_by_arity(parser: argparse.ArgumentParser, name: str, arity: str) -> None:
    names = name.split()
    if arity == "switch":
        parser.add_argument(*names, action=argparse.BooleanOptionalAction)
    elif arity == "values":
        parser.add_argument(*names, nargs="+", action="append")
    elif arity == "optional":
        parser.add_argument(*names, nargs="?", const="")
    else:
        parser.add_argument(*names)


def _normalise(word: str) -> str:
    """VLLM takes `--max_model_len` for `--max-model-len`, and `-O3` for `-O 3`."""
    if re.fullmatch(r"-O\d+", word):
        return f"-O={word[2:]}"
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _drop_json_paths(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Without `--json-flag.key value` and `--json-flag.key=value`: vLLM's way to fill one key of a JSON flag.

    All flags that take JSON are among those without effect, so only their names are checked.
    """
    kept: list[str] = []
    skip_value = False
    for word in words:
        if skip_value:
            skip_value = False
            continue
        name, equals, _ = word.partition("=")
        base, dot, _ = name.partition(".")
        if word.startswith("--") and dot and base in NO_EFFECT:
            skip_value = not equals
            continue
        kept.append(word)
    if skip_value:
        parser.error(f"argument {words[-1]}: expected one argument")
    return kept


def _with_config_file(parser: argparse.ArgumentParser, words: list[str]) -> list[str]:
    """`words` after those of the YAML file that `--config` names: the command line comes last, so it wins."""
    for position, word in enumerate(words):
        if word == "--config" and position + 1 < len(words):
            return [*_words_of_file(parser, words[position + 1]), *words]
        if word.startswith("--config="):
            return [*_words_of_file(parser, word.partition("=")[2]), *words]
    return words


def _words_of_file(parser: argparse.ArgumentParser, path: str) -> list[str]:
    import yaml  # noqa: PLC0415 - only who uses --config pays for the import

    try:
        entries: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        parser.error(f"--config {path}: {error}")
    if not isinstance(entries, dict):
        parser.error(f"--config {path}: expected a YAML mapping of flags to values")
    words: list[str] = []
    for key, value in entries.items():
        name = f"--{str(key).replace('_', '-')}"
        if value is True:
            words.append(name)
        elif value is False:
            words.append(f"--no-{name[2:]}")
        elif isinstance(value, list):
            words += [name, *(str(item) for item in value)]
        elif value is not None:
            words.append(f"{name}={value}")
    return words


def _attribute(flag: str) -> str:
    return flag.split(maxsplit=1)[0].removeprefix("--").replace("-", "_")


def _size(text: str) -> int:
    """A whole number, or one with vLLM's suffix: `8192`, `8k`, `8K`, `1.5k`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtKMGT]?)", text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"invalid value: {text!r} (a number, which may end in k, m, g, K, M or G)")
    number = float(match[1]) * MULTIPLIERS.get(match[2], 1)
    if number != int(number) or number < 1:
        raise argparse.ArgumentTypeError(f"invalid value: {text!r} (it must come to a whole number above 0)")
    return int(number)


def _model_length(text: str) -> int:
    return AUTO_LENGTH if text in {"auto", "-1"} else _size(text)


def _endpoints(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _lora_module(text: str) -> LoraModule:
    if "=" in text and "," not in text:
        name, _, path = text.partition("=")
        return LoraModule(name=name, path=path)
    try:
        return msgspec.json.decode(text, type=LoraModule)
    except msgspec.DecodeError as error:
        raise argparse.ArgumentTypeError(f"invalid value: {text!r} (NAME=PATH or JSON): {error}") from error


def _in_range(kind: type[int] | type[float], low: float, high: float = float("inf")) -> Any:
    """An argparse type: a number of `kind` from `low` to `high`, both included."""

    def convert(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = kind(-1) if low >= 0 else kind(low - 1)
        if not low <= number <= high:
            upper = "" if high == float("inf") else f" to {high:g}"
            raise argparse.ArgumentTypeError(f"invalid value: {text!r} (a number from {low:g}{upper})")
        return number

    return convert
