import pytest

from outrider.api import catalog
from outrider.api.labels import GPU_RESOURCE
from outrider.api.model_uri import ModelUri

SIZES = {
    "a known repository": ("meta-llama/Llama-3.1-8B-Instruct", 8.03),
    "its last part": ("Llama-3.1-8B-Instruct", 8.03),
    "its nickname": ("llama-3.1-8b", 8.03),
    "a size in the name": ("acme/Falcon-40B-chat", 40),
    "a small letter": ("acme/thing-70b", 70),
    "a decimal": ("acme/tiny-1.5B", 1.5),
    "millions": ("acme/baby-350m", 0.35),
    "experts": ("acme/mix-8x7B", 56),
    "a path in a bucket": ("models/company-13b/v2", 13),
}


@pytest.mark.parametrize("sentence", SIZES)
def test_sizes_are_known_or_read_from_the_name(sentence: str) -> None:
    name, billions = SIZES[sentence]
    assert catalog.parameters_of(name) == pytest.approx(billions * 1e9)


@pytest.mark.parametrize("name", ["acme/model", "acme/v2.0", "llama", "big-model-3.1", "acme/b2b"])
def test_a_name_without_a_size_says_nothing(name: str) -> None:
    assert catalog.parameters_of(name) is None


WEIGHTS = {
    "as published, 16 bits": ("hf://meta-llama/Llama-3.1-8B-Instruct", "auto", 16.06),
    "in int8": ("hf://meta-llama/Llama-3.1-8B-Instruct", "int8", 8.03),
    "in int4": ("hf://meta-llama/Llama-3.1-8B-Instruct", "int4", 4.015),
    "published in fp8": ("hf://deepseek-ai/DeepSeek-V3", "auto", 685),
    "the name tells the format": ("hf://acme/llama-70B-AWQ", "auto", 37.1),
    "a format that is part of a word does not count": ("hf://acme/hawqeye-1B", "auto", 2),
    "an unknown model counts as 8 billion": ("s3://models/secret", "auto", 16),
}


@pytest.mark.parametrize("sentence", WEIGHTS)
def test_weights_follow_from_size_and_quantization(sentence: str) -> None:
    uri, quantization, gigabytes = WEIGHTS[sentence]
    assert catalog.weights_bytes(ModelUri.parse(uri), quantization) == pytest.approx(gigabytes * 1e9)


def test_the_specs_own_parameter_count_decides() -> None:
    assert catalog.weights_bytes("llama-3.1-8b", "int8", 5_000_000_000) == 5_000_000_000


GPUS = {
    "8 billion in 16 bits fit one": (16e9, 1),
    "70 billion in 16 bits need four": (141e9, 4),
    "70 billion in int8 need two": (70.6e9, 2),
    "405 billion in fp8 take a node": (406e9, 8),
    "more than a node takes whole nodes": (812e9, 16),
    "nothing still needs one": (0, 1),
}


@pytest.mark.parametrize("sentence", GPUS)
def test_gpus_are_counted_in_powers_of_two_then_nodes(sentence: str) -> None:
    weights, gpus = GPUS[sentence]
    assert catalog.gpus_for(int(weights)) == gpus


def test_defaults_are_what_the_guide_asks_for_its_own_model() -> None:
    found = catalog.default_resources(catalog.weights_bytes("llama-3.1-8b", "int8"))
    assert {name: str(amount) for name, amount in found.items()} == {"memory": "16Gi", "cpu": "4", GPU_RESOURCE: "1"}


def test_no_gpus_stays_no_gpus() -> None:
    found = catalog.default_resources(8 * 10**9, gpus=0)
    assert (str(found["cpu"]), str(found[GPU_RESOURCE])) == ("4", "0")


def test_big_models_may_take_longer_to_start() -> None:
    assert catalog.start_seconds(8 * 10**9) == 600
    assert catalog.start_seconds(141 * 10**9) == 1428


def test_every_known_model_is_found_by_its_own_name() -> None:
    for model in catalog.MODELS:
        assert catalog.find_model(model.repository) == model
        assert model.parameters > 10**8
        assert 0 < model.native_bytes <= 2


def test_prices_say_where_they_come_from() -> None:
    for price in catalog.GPU_PRICES:
        assert price.dollars_per_hour > 0
        assert price.source
        assert catalog.gpu_price(price.product) == price
    assert catalog.gpu_price("NVIDIA-H100-80GB-HBM3-SHARED") == catalog.gpu_price("NVIDIA-H100-80GB-HBM3")
    assert catalog.gpu_price("NVIDIA-X9000") is None


# The chapter's own arithmetic: GPUs x price x 730 hours (requirements for the cost report, in dollars a month).
MONTHS = {"one replica of one GPU": (1, 1380), "two of two": (4, 5519), "ten of two": (20, 27594)}


@pytest.mark.parametrize("sentence", MONTHS)
def test_the_price_of_an_a100_gives_the_guides_monthly_cost(sentence: str) -> None:
    gpus, dollars = MONTHS[sentence]
    price = catalog.gpu_price("NVIDIA-A100-SXM4-40GB")
    assert price is not None
    assert gpus * price.dollars_per_hour * 730 == pytest.approx(dollars, abs=0.6)
