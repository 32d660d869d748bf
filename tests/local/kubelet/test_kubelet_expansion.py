from hypothesis import given
from hypothesis import strategies as st

from outrider.local.kubelet.expansion import expand

VARIABLES = {"A": "1", "B": "two words", "REFERENCE": "$(A)", "EMPTY": ""}

CASES = {
    "plain text stays": ("no references", "no references"),
    "a reference is replaced": ("--port=$(A)", "--port=1"),
    "several in one text": ("$(A)-$(B)", "1-two words"),
    "an empty value is a value": ("[$(EMPTY)]", "[]"),
    "values are not expanded again": ("$(REFERENCE)", "$(A)"),
    "what is not defined stays": ("$(NOPE)", "$(NOPE)"),
    "two dollars are one, and no reference": ("$$(A)", "$(A)"),
    "four dollars are two": ("$$$$(A)", "$$(A)"),
    "three dollars: one, then the reference": ("$$$(A)", "$1"),
    "an unclosed reference stays": ("$(A", "$(A"),
    "a dollar at the end stays": ("cost: 5$", "cost: 5$"),
    "shell variables are the shell's": ("$A ${A}", "$A ${A}"),
    "an empty name stays": ("$()", "$()"),
    "a reference ends at the first bracket": ("$(A))", "1)"),
    "the name goes up to the first closing bracket": ("$(x$(A)", "$(x$(A)"),
}


def test_expansion_follows_kubernetes() -> None:
    for sentence, (text, expected) in CASES.items():
        assert expand(text, VARIABLES) == expected, sentence


@given(st.text(alphabet="$()AB x", max_size=40))
def test_doubling_every_dollar_gives_the_text_back(text: str) -> None:
    assert expand(text.replace("$", "$$"), VARIABLES) == text


@given(st.text(alphabet="$()AB x", max_size=40))
def test_without_variables_only_doubled_dollars_change(text: str) -> None:
    expanded = expand(text, {})
    assert expanded.replace("$", "") == text.replace("$", "")
    assert expanded == text or "$$" in text


@given(st.text(alphabet="AB xyz-=/:", max_size=40))
def test_text_without_dollars_is_untouched(text: str) -> None:
    assert expand(text, VARIABLES) == text
