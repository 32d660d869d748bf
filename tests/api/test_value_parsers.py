"""Quantities, durations, money, percentages, triggers: exact, printable, and clear about what is allowed."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.api.duration import Duration
from outrider.api.money import Money
from outrider.api.percentage import Percentage
from outrider.api.quantity import Quantity, of_bytes
from outrider.api.trigger import OPERATORS, UNITS, Trigger

PARSERS: list[Any] = [Quantity, Duration, Money, Percentage, Trigger]

# Canonical forms as k8s.io/apimachinery's quantity_test.go and the API conventions give them.
CANONICAL = {
    "a whole number stays": ("4", "4"),
    "fractions become milli": ("1.5", "1500m"),
    "half a core": ("0.5", "500m"),
    "no leading zero is needed": (".5", "500m"),
    "binary suffixes go as high as they can": ("1024Mi", "1Gi"),
    "a broken binary goes down": ("1.5Gi", "1536Mi"),
    "less than 1024 loses the binary suffix": ("0.5Ki", "512"),
    "a binary that is not whole turns decimal": ("0.1Ki", "102400m"),
    "decimal suffixes go as high as they can": ("1000k", "1M"),
    "exponents stay exponents": ("1e3", "1e3"),
    "exponents in steps of three": ("12E2", "1200"),
    "E alone is exa": ("1E", "1E"),
    "negative amounts": ("-1.5Gi", "-1536Mi"),
    "zero has no suffix": ("0Gi", "0"),
    "finer than nano is rounded up": ("0.1n", "1n"),
    "more than exa stays in exa": ("1000E", "1000E"),
}


@pytest.mark.parametrize("sentence", CANONICAL)
def test_quantities_print_as_kubernetes_does(sentence: str) -> None:
    written, printed = CANONICAL[sentence]
    assert str(Quantity.parse(written)) == printed


@given(
    st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=1000).filter(
        lambda value: (value * 10**9).denominator == 1
    ),
    st.sampled_from(["binary", "decimal", "exponent"]),
)
def test_any_quantity_survives_printing(value: Fraction, form: str) -> None:
    quantity = Quantity(value, form)  # type: ignore[arg-type]
    assert Quantity.parse(str(quantity)) == quantity
    if form == "decimal":
        assert str(Quantity.parse(str(quantity))) == str(quantity)


@given(st.integers(0, 2**62))
def test_bytes_are_counted_exactly(count: int) -> None:
    assert Quantity.parse(str(of_bytes(count))).whole == count


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.sampled_from(["m", "", "k", "Ki", "Gi"]))
def test_quantities_add_and_compare_as_numbers_do(one: int, other: int, suffix: str) -> None:
    left, right = Quantity.parse(f"{one}{suffix}"), Quantity.parse(f"{other}{suffix}")
    assert left + right == Quantity.parse(f"{one + other}{suffix}")
    assert left - right == Quantity.parse(f"{one - other}{suffix}")
    assert (left < right) == (one < other)
    assert left * 3 == Quantity.parse(f"{one * 3}{suffix}")


def test_equal_quantities_are_one_key() -> None:
    assert {Quantity.parse("1Gi"), Quantity.parse("1024Mi"), Quantity.parse("1073741824")} == {Quantity.parse("1Gi")}


def test_a_part_of_a_gpu_counts_as_one() -> None:
    assert Quantity.parse("1500m").whole == 2


def test_quantities_come_as_bare_numbers_too() -> None:
    assert str(Quantity.from_json(4)) == "4"
    assert str(Quantity.from_json(0.5)) == "500m"


@given(st.integers(0, 10**18))
def test_any_duration_survives_printing(nanoseconds: int) -> None:
    duration = Duration(nanoseconds)
    assert Duration.parse(str(duration)) == duration


DURATIONS = {
    "Go's own form": ("1m30s", "1m30s"),
    "milliseconds": ("500ms", "500ms"),
    "days": ("30d", "30d"),
    "larger units are preferred": ("90s", "1m30s"),
    "fractions": ("1.5s", "1.5s"),
    "fractions of an hour": ("1.5h", "1h30m"),
    "microseconds with either letter": ("5µs", "5us"),
    "nothing": ("0", "0s"),
}


@pytest.mark.parametrize("sentence", DURATIONS)
def test_durations_print_compactly(sentence: str) -> None:
    written, printed = DURATIONS[sentence]
    assert str(Duration.parse(written)) == printed


@given(st.decimals(min_value=0, max_value=10**9, places=6))
def test_any_amount_of_money_survives_printing(dollars: Decimal) -> None:
    assert Money.parse(str(Money(dollars))) == Money(dollars)


def test_money_reads_thousands_and_bare_numbers() -> None:
    assert str(Money.parse("$5,000")) == "$5000"
    assert str(Money.from_json(50)) == "$50"
    assert str(Money.from_json(0.000001)) == "$0.000001"


@given(st.decimals(min_value=0, max_value=100, places=4))
def test_any_percentage_survives_printing(percent: Decimal) -> None:
    percentage = Percentage(percent)
    assert Percentage.parse(str(percentage)) == percentage
    assert percentage.ratio * 100 == percent


@given(
    st.sampled_from(OPERATORS),
    st.decimals(min_value=0, max_value=100, places=3),
    st.sampled_from(UNITS),
    st.sampled_from(["", " "]),
)
def test_any_trigger_survives_printing(operator: str, threshold: Decimal, unit: str, space: str) -> None:
    trigger = Trigger.parse(f"{operator}{space}{threshold}{space}{unit}")
    assert Trigger.parse(str(trigger)) == trigger
    assert (trigger.operator, trigger.threshold, trigger.unit) == (operator, threshold, unit)


TRIGGERS = {
    "an error rate is a ratio": (">1%", 0.01, 0.02, 0.01),
    "milliseconds are seconds": (">1000ms", 1.0, 1.1, 0.9),
    "decode speed": ("<10 tokens/sec", 10.0, 9.0, 10.0),
    "the long word for the same unit": ("<10 tokens/second", 10.0, 9.0, 11.0),
    "or equal, above": (">=2s", 2.0, 2.0, 1.9),
    "or equal, below": ("<=5%", 0.05, 0.05, 0.06),
}


@pytest.mark.parametrize("sentence", TRIGGERS)
def test_triggers_compare_in_base_units(sentence: str) -> None:
    text, limit, pulls, rests = TRIGGERS[sentence]
    trigger = Trigger.parse(text)
    assert trigger.limit == pytest.approx(limit)
    assert trigger.holds(pulls)
    assert not trigger.holds(rests)


def test_the_long_word_for_tokens_per_second_prints_short() -> None:
    assert str(Trigger.parse("<10 tokens/second")) == "<10 tokens/sec"


REFUSED: dict[str, tuple[Any, str, str]] = {
    "a quantity with an unknown suffix": (Quantity, "16GiB", "quantity"),
    "a quantity with a short unknown suffix": (Quantity, "16Gb", "suffix"),
    "a quantity of nothing": (Quantity, "", "quantity"),
    "two points": (Quantity, "1.2.3", "quantity"),
    "not a number": (Quantity, "NaN", "quantity"),
    "digits of other scripts": (Quantity, "٣", "quantity"),
    "a duration without a unit": (Duration, "30", "no unit"),
    "a negative duration": (Duration, "-1s", "duration"),
    "finer than a nanosecond": (Duration, "0.5ns", "nanosecond"),
    "a line break after a duration": (Duration, "30s\n", "duration"),
    "money without its sign": (Money, "5000", "dollars"),
    "money in another currency": (Money, "€5", "dollars"),
    "thousands in the wrong place": (Money, "$50,00", "dollars"),
    "a percentage without its sign": (Percentage, "99.9", "percentage"),
    "more than all": (Percentage, "101%", "100%"),
    "a trigger without an operator": (Trigger, "1%", "operator"),
    "a trigger without a unit": (Trigger, ">1", "unit"),
    "a trigger in hours": (Trigger, ">1h", "unit"),
    "a trigger beyond everything": (Trigger, ">101%", "100%"),
    "text that goes on for ever": (Quantity, "1" * 1000, "quantity"),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_refusals_say_what_is_allowed(sentence: str) -> None:
    parser, text, said = REFUSED[sentence]
    with pytest.raises(ValueError, match=said):
        parser.parse(text)


@pytest.mark.parametrize("parser", PARSERS)
@given(text=st.text(max_size=20))
def test_no_text_makes_a_parser_raise_anything_but_value_error(parser: Any, text: str) -> None:
    try:
        parsed = parser.parse(text)
    except ValueError:
        return
    assert parser.parse(str(parsed)) == parsed


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("raw", [None, True, [], {}, float("nan"), float("inf")])
def test_json_of_the_wrong_kind_is_refused(parser: Any, raw: object) -> None:
    with pytest.raises(ValueError):
        parser.from_json(raw)
