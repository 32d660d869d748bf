"""The command line is vLLM's: what it accepts, what it refuses, and what it means by it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.serving.simulator.flags import AUTO_LENGTH, Flags, LoraModule, parse_flags
from outrider.serving.simulator.no_effect import NO_EFFECT, NOT_SUPPORTED

RENDERED = """
serve meta-llama/Llama-3.1-8B-Instruct --served-model-name=llama-3.1-8b --revision=v1.2.0 --quantization=int8
--tokenizer-revision=v1.2.0 --tensor-parallel-size=2 --max-model-len=8192 --gpu-memory-utilization=0.9
--shutdown-timeout=30 --disable-access-log-for-endpoints=/health,/metrics,/v1/models --host=127.0.0.1 --port=8080
"""

ACCEPTED: dict[str, tuple[str, dict[str, object]]] = {
    "the model alone is enough": ("serve m", {"model": "m", "port": 8000, "enable_prefix_caching": True}),
    "the model may be given as a flag": ("serve --model m", {"model": "m"}),
    "values follow an equals sign": ("serve m --port=1 --host=127.0.0.2", {"port": 1, "host": "127.0.0.2"}),
    "values follow a space": ("serve m --port 1 --tensor-parallel-size 2", {"port": 1, "tensor_parallel_size": 2}),
    "underscores are dashes": ("serve m --max_num_seqs=3", {"max_num_seqs": 3}),
    "short forms": ("serve m -tp 4 -pp 2 -q fp8", {"tensor_parallel_size": 4, "quantization": "fp8", "gpus": 8}),
    "several names, the first shown": ("serve m --served-model-name a b", {"names": ("a", "b")}),
    "without a name the model is the name": ("serve org/m", {"names": ("org/m",)}),
    "small k is a thousand": ("serve m --max-model-len 32k", {"max_model_len": 32_000}),
    "large K is 1024": ("serve m --max-model-len=32K", {"max_model_len": 32_768}),
    "a broken size that comes to a whole number": (
        "serve m --max-num-batched-tokens=1.5k",
        {"max_num_batched_tokens": 1500},
    ),
    "the engine may choose the length": ("serve m --max-model-len auto", {"max_model_len": AUTO_LENGTH}),
    "minus one means auto": ("serve m --max-model-len=-1", {"max_model_len": AUTO_LENGTH}),
    "switches can be turned off": ("serve m --no-enable-prefix-caching", {"enable_prefix_caching": False}),
    "endpoints without access log": (
        "serve m --disable-access-log-for-endpoints=/health,/metrics",
        {"disable_access_log_for_endpoints": ("/health", "/metrics")},
    ),
    "adapters by name and path": (
        "serve m --enable-lora --lora-modules sql=/adapters/sql",
        {"enable_lora": True, "lora_modules": (LoraModule("sql", "/adapters/sql"),)},
    ),
    "adapters as JSON": (
        'serve m --lora-modules {"name":"sql","path":"/a"}',
        {"lora_modules": (LoraModule("sql", "/a"),)},
    ),
    "flags without effect": (
        "serve m --enforce-eager --tokenizer-revision=x --dtype bfloat16 -O3 --trust-remote-code",
        {"dtype": "bfloat16"},
    ),
    "one key of a JSON flag": ("serve m --speculative-config.method ngram --port=5", {"port": 5}),
    "everything the operator renders": (
        RENDERED,
        {"revision": "v1.2.0", "shutdown_timeout": 30.0, "gpu_memory_utilization": 0.9, "port": 8080},
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepts(case: str) -> None:
    line, expected = ACCEPTED[case]
    flags = parse_flags(line.split())
    assert {name: getattr(flags, name) for name in expected} == expected


REFUSED = {
    "no subcommand": ("m", "subcommand 'serve'"),
    "no model": ("serve", "model_tag"),
    "two models": ("serve m --model n", "given twice"),
    "an unknown flag": ("serve m --frobnicate=1", "unrecognized arguments: --frobnicate=1"),
    "a flag that vLLM has removed": ("serve m --swap-space 4", "unrecognized arguments: --swap-space 4"),
    "an abbreviation": ("serve m --quant fp8", "unrecognized arguments"),
    "a port that is none": ("serve m --port 70000", "--port: invalid value: '70000' (a number from 0 to 65535)"),
    "a port that is no number": ("serve m --port http", "a number from 0 to 65535"),
    "no GPU": ("serve m --tensor-parallel-size=0", "a number from 1"),
    "more than all memory": ("serve m --gpu-memory-utilization 1.5", "a number from 0.01 to 1"),
    "a length that is none": ("serve m --max-model-len many", "invalid value: 'many'"),
    "a length that is not whole": ("serve m --max-model-len 1.0001k", "whole number"),
    "TLS": ("serve m --ssl-keyfile k --ssl-certfile c", "--ssl-certfile, --ssl-keyfile: vLLM knows this"),
    "another protocol": ("serve m --grpc", "does not support it"),
    "tools without a parser": ("serve m --enable-auto-tool-choice", "requires --tool-call-parser"),
    "a broken adapter": ("serve m --lora-modules {broken", "NAME=PATH or JSON"),
    "a JSON key without a value": ("serve m --speculative-config.method", "expected one argument"),
    "a configuration file that is not there": ("serve m --config /nonexistent.yaml", "--config /nonexistent.yaml"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_with_exit_code_2(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    line, message = REFUSED[case]
    with pytest.raises(SystemExit) as ended:
        parse_flags(line.split())
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "vllm: error:" in error
    assert message in error


def test_a_configuration_file_gives_defaults_that_the_command_line_overrides(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "port: 1\nmax-num-seqs: 7\nenable-prefix-caching: false\nserved-model-name: [a, b]\nenforce-eager: true\n"
    )
    flags = parse_flags(["serve", "m", "--config", str(file), "--port", "2"])
    assert (flags.port, flags.max_num_seqs, flags.enable_prefix_caching, flags.names) == (2, 7, False, ("a", "b"))


def test_a_configuration_file_must_be_a_mapping(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("- port\n")
    with pytest.raises(SystemExit):
        parse_flags(["serve", "m", f"--config={file}"])
    assert "expected a YAML mapping" in capsys.readouterr().err


WORDS_BY_ARITY = {"value": ["x"], "values": ["x", "y"], "optional": ["x"], "switch": []}


@pytest.mark.parametrize("name", NO_EFFECT)
def test_a_flag_without_effect_changes_nothing(name: str) -> None:
    for spelling in name.split():
        words = ["serve", "m", spelling, *WORDS_BY_ARITY[NO_EFFECT[name]]]
        assert parse_flags(words) == Flags(model="m")


def test_no_flag_is_in_two_lists() -> None:
    names = {spelling for name in NO_EFFECT for spelling in name.split()}
    honoured = {f"--{field.replace('_', '-')}" for field in Flags.__struct_fields__}
    assert not names & honoured
    assert not names & NOT_SUPPORTED.keys()


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12), max_size=5))
def test_any_command_line_is_accepted_or_refused_with_a_message(words: list[str]) -> None:
    code: object = 0
    try:
        parse_flags(["serve", "m", *words])
    except SystemExit as ended:
        code = ended.code
    assert code in {0, 2}
