"""Questions with one right answer, so that a probe of quality means something.

For each there is also a wrong answer that reads just as well: what a broken quantization or a mixed-up tokenizer gives.
"""

import re
from collections.abc import Callable
from fractions import Fraction

import msgspec


class KnownAnswer(msgspec.Struct, frozen=True):
    right: str
    wrong: str


CAPITALS = {
    "argentina": "Buenos Aires", "australia": "Canberra", "austria": "Vienna", "belgium": "Brussels",
    "brazil": "Brasília", "canada": "Ottawa", "chile": "Santiago", "china": "Beijing", "denmark": "Copenhagen",
    "egypt": "Cairo", "finland": "Helsinki", "france": "Paris", "germany": "Berlin", "greece": "Athens",
    "hungary": "Budapest", "india": "New Delhi", "ireland": "Dublin", "italy": "Rome", "japan": "Tokyo",
    "kenya": "Nairobi", "mexico": "Mexico City", "netherlands": "Amsterdam", "norway": "Oslo", "peru": "Lima",
    "poland": "Warsaw", "portugal": "Lisbon", "south korea": "Seoul", "spain": "Madrid", "sweden": "Stockholm",
    "switzerland": "Bern", "thailand": "Bangkok", "turkey": "Ankara", "ukraine": "Kyiv",
    "united kingdom": "London", "united states": "Washington, D.C.", "vietnam": "Hanoi",
}  # fmt: skip

FACTS: dict[str, tuple[str, str]] = {
    r"how many days (are )?(there )?in a week": ("7", "9"),
    r"how many months (are )?(there )?in a year": ("12", "10"),
    r"how many hours (are )?(there )?in a day": ("24", "20"),
    r"how many minutes (are )?(there )?in an hour": ("60", "100"),
    r"how many legs does a spider have": ("8", "6"),
    r"what colou?r is (the|a clear) (daytime )?sky": ("Blue", "Green"),
    r"opposite of ['\"]?hot": ("Cold", "Tall"),
    r"opposite of ['\"]?up": ("Down", "Loud"),
    r"largest planet": ("Jupiter", "Mercury"),
    r"planet do we live on|planet (is|do) (we|humans) (live )?on": ("Earth", "Neptune"),
    r"chemical symbol (for|of) gold": ("Au", "Pb"),
    r"chemical formula (for|of) water": ("H2O", "CO2"),
    r"who wrote romeo and juliet": ("William Shakespeare", "Charles Dickens"),
    r"boiling point of water": ("100 degrees Celsius", "40 degrees Celsius"),
    r"first letter of the (english )?alphabet": ("A", "Q"),
}

_TIMES, _DIVIDED = "\u00d7", "\u00f7"
_NUMBER = r"-?\d{1,15}(?:\.\d{1,6})?"
_OPERATION = rf"({_NUMBER})\s*(\+|-|\*|x|{_TIMES}|/|{_DIVIDED}|plus|minus|times|multiplied by|divided by)\s*({_NUMBER})"
# Only where something asks for the result: otherwise a date such as 2026-11-23 would be a subtraction.
_ARITHMETIC = re.compile(
    rf"(?:(?:what'?s|what is|calculate|compute|evaluate|solve|how much is)[^\d-]{{0,30}}?{_OPERATION}"
    rf"|{_OPERATION}\s*=\s*\??\s*$)",
    re.IGNORECASE,
)
_CAPITAL = re.compile(r"capital (?:city )?of (?:the )?([a-z ]+)", re.IGNORECASE)
_QUOTED = r"[\"'`]([^\n\"'`]{1,80})[\"'`]"
_REPEAT = re.compile(
    r"(?:reply|respond|answer)\b[^:\n]{0,60}\b(?:words?|text|phrase)"
    rf"(?:\s*:?\s*{_QUOTED}|\s*:\s*([^\n\"'`?]{{1,80}}?)[.!]?\s*$)"
    r"|(?:reply|respond|answer)\b[^:\n]{0,60}\b(?:single|exact|one) word\s+(\w{1,40})[.!]?\s*$"
    rf"|(?:reply|respond|answer) with (?:just|only|exactly)\s*:?\s*(?:{_QUOTED}|(\w{{1,40}})[.!]?\s*$)"
    rf"|^say\s+(?:{_QUOTED}|(\w{{1,40}})[.!]?\s*$)"
    r"|repeat after me\s*:?\s*[\"'`]?([^\n\"'`]{1,80}?)[\"'`]?[.!]?\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_BRIEF = re.compile(
    r"\b(single|one) (word|number)|\b(only|just) (with )?(the |a )?(number|word|name|answer|result)", re.IGNORECASE
)

_OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
}
_OPERATOR_WORDS = {
    "plus": "+", "minus": "-", "times": "*", "x": "*", _TIMES: "*", "multiplied by": "*", _DIVIDED: "/",
    "divided by": "/",
}  # fmt: skip


def known_answer(question: str) -> KnownAnswer | None:
    """The right and a wrong answer to `question`, or None where it has no single answer that this module knows."""
    return _arithmetic(question) or _capital(question) or _fact(question) or _repeat(question)


def _repeat(question: str) -> KnownAnswer | None:
    match = _REPEAT.search(question)
    if not match:
        return None
    word = next(group for group in match.groups() if group).strip()
    return KnownAnswer(right=word, wrong="window" if word.lower() != "window" else "ladder")


def _arithmetic(question: str) -> KnownAnswer | None:
    match = _ARITHMETIC.search(question)
    if not match:
        return None
    first, operator, second = (group for group in match.groups() if group)
    left, right = Fraction(first), Fraction(second)
    sign = _OPERATOR_WORDS.get(operator.lower(), operator)
    if sign == "/" and right == 0:
        return None
    result = _OPERATIONS[sign](left, right)
    # Off by more than one, as a model that has lost its arithmetic is; never equal to the right one.
    values = (_format(result), _format(result * 2 + 3 if result != -3 else Fraction(8)))
    if _BRIEF.search(question):
        return KnownAnswer(*values)
    return KnownAnswer(*(f"{first} {operator} {second} is {value}." for value in values))


def _capital(question: str) -> KnownAnswer | None:
    match = _CAPITAL.search(question)
    if not match:
        return None
    place = match[1].strip().lower()
    country = next((name for name in CAPITALS if place == name or place.startswith(f"{name} ")), None)
    if country is None:
        return None
    names = list(CAPITALS)
    right, wrong = CAPITALS[country], CAPITALS[names[(names.index(country) + 7) % len(names)]]
    if _BRIEF.search(question):
        return KnownAnswer(right, wrong)
    article = "the " if country in {"netherlands", "united kingdom", "united states"} else ""
    return KnownAnswer(*(f"The capital of {article}{country.title()} is {city}." for city in (right, wrong)))


def _fact(question: str) -> KnownAnswer | None:
    lowered = question.lower()
    for pattern, (right, wrong) in FACTS.items():
        if re.search(pattern, lowered):
            return KnownAnswer(right, wrong)
    return None


def _format(number: Fraction) -> str:
    return str(number.numerator) if number.denominator == 1 else f"{float(number):.6g}"
