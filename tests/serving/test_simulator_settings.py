"""The simulator's settings: one set of keys, refused as a whole if anything in them is wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.serving.simulator.settings import (
    KEYS,
    Settings,
    SettingsError,
    as_dict,
    from_environment,
    merge,
    merge_while_running,
)

CONTRACT = {
    "load-seconds", "load-gigabytes-per-second", "time-to-first-token-ms", "inter-token-latency-ms", "max-num-seqs",
    "error-rate", "error-code", "error-above-prompt-tokens", "engine-error-rate",
    "extra-latency-ms", "slow-token-factor", "hang-rate",
    "wedge", "truncate-rate", "wrong-answer-rate", "foreign-language-rate", "crash-after-seconds",
    "crash-after-requests", "crash-on-start",
    "memory-growth-mb-per-minute", "health-failure", "metrics-failure", "seed",
}  # fmt: skip
"""The keys of docs/design/0001-contracts.md."""


def test_every_key_of_the_contract_exists() -> None:
    assert set(KEYS) >= CONTRACT


def test_the_keys_beyond_the_contract() -> None:
    assert set(KEYS) - CONTRACT == {"gpu-memory-gigabytes"}


def test_whole_numbers_are_taken_where_fractions_are_allowed() -> None:
    assert merge(Settings(), {"error-rate": 1, "load-seconds": 2}) == Settings(error_rate=1.0, load_seconds=2.0)


def test_null_sets_a_key_back_to_its_default() -> None:
    changed = Settings(error_rate=0.5, crash_after_requests=3)
    assert merge(changed, {"error-rate": None, "crash-after-requests": None}) == Settings()


def test_what_is_shown_can_be_sent_back() -> None:
    settings = Settings(hang_rate=0.25, wedge=True, load_seconds=3)
    assert merge_while_running(settings, as_dict(settings)) == settings


REFUSED = {
    "an unknown key names the one that was meant": (
        {"eror-rate": 1},
        "unknown key 'eror-rate': did you mean 'error-rate'?",
    ),
    "a key like no other lists all": ({"zzz": 1}, "allowed are load-seconds, load-gigabytes"),
    "all unknown keys are named": (
        {"error_rate": 1, "wedged": True},
        "'error_rate': did you mean 'error-rate'?; unknown key 'wedged'",
    ),
    "a rate above one": ({"error-rate": 2}, "`error-rate`"),
    "a negative time": ({"extra-latency-ms": -1}, "`extra-latency-ms`"),
    "a text for a number": ({"error-code": "500"}, "`error-code`"),
    "a status that is no error": ({"error-code": 200}, "`error-code`"),
    "a number for a switch": ({"wedge": 1}, "`wedge`"),
    "a factor that makes it faster": ({"slow-token-factor": 0.5}, "`slow-token-factor`"),
    "a list": ([1], "must be an object of keys and values, got list"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    changes, message = REFUSED[case]
    with pytest.raises(SettingsError) as refused:
        merge(Settings(), changes)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [{"load-seconds": 1}, {"crash-on-start": True}, {"load-gigabytes-per-second": 2}, {"gpu-memory-gigabytes": 1}],
)
def test_what_only_matters_at_start_cannot_be_changed_later(changes: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="can only be set at start"):
        merge_while_running(Settings(), changes)


@pytest.mark.parametrize("text", [None, "", "  ", "{}"])
def test_no_environment_means_defaults(text: str | None) -> None:
    assert from_environment(text) == Settings()


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"error-rate": "much"}', '{"nope": 1}'])
def test_a_wrong_environment_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError):
        from_environment(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(), json_values, max_size=4) | json_values)
def test_any_json_is_merged_or_refused(changes: object) -> None:
    try:
        settings = merge(Settings(), json.loads(json.dumps(changes)))
    except SettingsError:
        return
    assert merge(Settings(), as_dict(settings)) == settings
