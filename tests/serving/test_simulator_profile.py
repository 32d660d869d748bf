"""How large and how fast the simulated engine is, from the model, the flags and the GPUs."""

import re

import pytest

from outrider.serving.simulator.flags import parse_flags
from outrider.serving.simulator.profile import ModelDoesNotFitError, fingerprint, make_profile
from outrider.serving.simulator.settings import Settings

PROFILES = {
    "8B in 16 bits on one GPU": ("meta-llama/Llama-3.1-8B-Instruct", 16.06e9, (1.0, 2.0), (0.010, 0.015)),
    "8B in int8": ("meta-llama/Llama-3.1-8B-Instruct --quantization=int8", 8.03e9, (0.5, 1.0), (0.005, 0.008)),
    "70B on eight GPUs": ("meta-llama/Llama-3.1-70B-Instruct -tp 8", 141.2e9, (8, 10), (0.016, 0.028)),
    "405B in fp8 on eight GPUs": ("meta-llama/Llama-3.1-405B-Instruct-FP8 -tp 8", 406e9, (20, 30), (0.04, 0.1)),
    "an unknown model counts as 8B": ("org/secret", 16e9, (1.0, 2.0), (0.010, 0.015)),
}


@pytest.mark.parametrize("case", PROFILES)
def test_size_and_speed_come_from_the_model(case: str) -> None:
    line, weights, load, decode = PROFILES[case]
    profile = make_profile(parse_flags(["serve", *line.split()]), Settings())
    assert profile.weights_bytes == pytest.approx(weights, rel=0.01)
    assert load[0] <= profile.load_seconds <= load[1]
    assert decode[0] <= profile.decode_seconds <= decode[1]
    assert profile.cache_tokens >= profile.max_model_len


def test_the_cache_of_8b_holds_what_is_left_of_80_gigabytes() -> None:
    profile = make_profile(
        parse_flags(["serve", "meta-llama/Llama-3.1-8B", "--gpu-memory-utilization=0.9"]), Settings()
    )
    assert profile.cache_tokens == pytest.approx((80e9 * 0.9 - 16.06e9) / 131_072, rel=0.01)


def test_70b_does_not_fit_on_one_gpu() -> None:
    with pytest.raises(ModelDoesNotFitError, match="--tensor-parallel-size"):
        make_profile(parse_flags(["serve", "meta-llama/Llama-3.1-70B-Instruct"]), Settings())


FINGERPRINTS = {
    "version and hash": ("", r"vllm-0\.32\.0-[0-9a-f]{8}"),
    "parallel layout": ("-tp 2 -pp 3", r"vllm-0\.32\.0-tp2-pp3-[0-9a-f]{8}"),
    "without the layout": ("-tp 2 --fingerprint-mode hash", r"vllm-0\.32\.0-[0-9a-f]{8}"),
    "as given": ("--fingerprint-mode custom --fingerprint-value v7", "v7"),
    "none": ("--fingerprint-mode none", "None"),
}


@pytest.mark.parametrize("case", FINGERPRINTS)
def test_fingerprint(case: str) -> None:
    line, pattern = FINGERPRINTS[case]
    assert re.fullmatch(pattern, str(fingerprint(parse_flags(["serve", "m", *line.split()]))))


def test_two_versions_of_a_model_have_different_fingerprints() -> None:
    shown = {fingerprint(parse_flags(["serve", "m", f"--revision={version}"])) for version in ("v1", "v2")}
    assert len(shown) == 2
