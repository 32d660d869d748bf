"""Reading Prometheus' text format: what Prometheus' own client writes, and what it would refuse."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from vllm_page import VLLM_PAGE

from outrider.signals.prometheus_text import Family, PrometheusTextError, Sample, parse

LINES: dict[str, tuple[str, Family]] = {
    "a gauge without labels": ("# TYPE a gauge\na 1.5\n", Family("a", "gauge", (Sample("a", {}, 1.5),))),
    "a type that nobody said": ("a 1", Family("a", "untyped", (Sample("a", {}, 1),))),
    "a type that we do not know": ("# TYPE a stateset\na 1", Family("a", "untyped", (Sample("a", {}, 1),))),
    "only a type line: known, and nothing counted": ("# TYPE a counter\n", Family("a", "counter", ())),
    "a timestamp after the value": ("a 1 1395066363000", Family("a", "untyped", (Sample("a", {}, 1),))),
    "an exemplar after the value": ('a{b="c"} 1 # {t="x"} 0.5', Family("a", "untyped", (Sample("a", {"b": "c"}, 1),))),
    "spaces wherever the format allows them": (
        'a { b = "c" , d="e", }  \t 2',
        Family("a", "untyped", (Sample("a", {"b": "c", "d": "e"}, 2),)),
    ),
    "escapes, and what looks like an end": (
        r'a{b="\\ \" \n \x } , = #"} 3',
        Family("a", "untyped", (Sample("a", {"b": '\\ " \n \\x } , = #'}, 3),)),
    ),
    "infinity": (
        "a +Inf\na -Inf",
        Family("a", "untyped", (Sample("a", {}, float("inf")), Sample("a", {}, float("-inf")))),
    ),
    "empty labels": ("a{} 1", Family("a", "untyped", (Sample("a", {}, 1),))),
    "the bound of a bucket stays text": (
        '# TYPE a histogram\na_bucket{le="0.50"} 1\na_bucket{le="+Inf"} 2\na_sum 3\na_count 2',
        Family(
            "a",
            "histogram",
            (
                Sample("a_bucket", {"le": "0.50"}, 1),
                Sample("a_bucket", {"le": "+Inf"}, 2),
                Sample("a_sum", {}, 3),
                Sample("a_count", {}, 2),
            ),
        ),
    ),
    "another family that begins with the same name": (
        "a 1\na_total 5\nab 6",
        Family("a", "untyped", (Sample("a", {}, 1),)),
    ),
}


@pytest.mark.parametrize("case", LINES)
def test_lines_are_read(case: str) -> None:
    text, family = LINES[case]
    assert parse(text, ["a"]) == {"a": family}


UNREADABLE = {
    "no value": ("a", "line 1: not a name, labels and a number"),
    "a value that is no number": ("b 1\na one", "line 2: not a name, labels and a number"),
    "labels that are not closed": ('a{b="c" 1', "line 1: not a name, labels and a number"),
    "a quote that is not closed": ('a{b="c} 1', "line 1: not a name, labels and a number"),
    "labels without quotes": ("a{b=c} 1", "line 1: not a name, labels and a number"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_an_error_that_names_the_line(case: str) -> None:
    text, message = UNREADABLE[case]
    with pytest.raises(PrometheusTextError, match=re.escape(message)):
        parse(text, ["a"])


def test_families_that_nobody_asked_for_cannot_do_harm() -> None:
    assert parse('broken{"\nx{y=z} nothing\na 1', ["a"])["a"].samples == (Sample("a", {}, 1),)


def test_a_family_that_is_not_there_is_not_there() -> None:
    assert parse("a 1", ["b"]) == {}


def test_a_real_vllm_page_reads_as_the_official_parser_reads_it() -> None:
    # The official parser of the text format names counters without `_total`: samples are what can be compared.
    official = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(VLLM_PAGE)
        for sample in family.samples
    }
    names = re.findall(r"^# TYPE (\S+)", VLLM_PAGE, re.MULTILINE)
    ours = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(VLLM_PAGE, names).values()
        for sample in family.samples
    }
    assert len(ours) > 300
    assert ours == official


LABEL_VALUES = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.floats(allow_nan=False)


@given(
    st.dictionaries(st.tuples(LABEL_VALUES, LABEL_VALUES), NUMBERS, max_size=5), st.lists(st.floats(0, 10), max_size=20)
)
def test_what_the_official_client_prints_is_read_back(
    values: dict[tuple[str, str], float], observed: list[float]
) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("g", "Help with \n and \\.", ["a", "b"], registry=registry)
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
    counter = Counter("c", "", registry=registry)
    histogram = Histogram("h", "", buckets=(0.5, 1, 5), registry=registry)
    for value in observed:
        histogram.observe(value)
        counter.inc(value)
    families = parse(generate_latest(registry).decode(), ["g", "c_total", "h"])
    assert {(sample.labels["a"], sample.labels["b"]): sample.value for sample in families["g"].samples} == values
    assert families["c_total"] == Family("c_total", "counter", (Sample("c_total", {}, sum(observed)),))
    assert families["h"].type == "histogram"
    buckets = {sample.labels["le"]: sample.value for sample in families["h"].samples if sample.name == "h_bucket"}
    assert buckets == {
        bound: sum(value <= float(bound) for value in observed) for bound in ("0.5", "1.0", "5.0", "+Inf")
    }


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


def print_family(family: Family) -> str:
    def escape(value: str) -> str:
        return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

    lines = [f"# TYPE {family.name} {family.type}"]
    for sample in family.samples:
        labels = ",".join(f'{name}="{escape(value)}"' for name, value in sample.labels.items())
        lines.append(f"{sample.name}{{{labels}}} {sample.value!r}" if labels else f"{sample.name} {sample.value!r}")
    return "\n".join(lines) + "\n"


@given(st.lists(st.tuples(st.dictionaries(NAMES, LABEL_VALUES, max_size=4), NUMBERS), max_size=6))
def test_what_is_printed_is_read_back(series: list[tuple[dict[str, str], float]]) -> None:
    family = Family("a", "gauge", tuple(Sample("a", labels, value) for labels, value in series))
    assert parse(print_family(family), ["a"]) == {"a": family}
