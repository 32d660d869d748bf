"""What the simulated model says: plausible English, always the same for the same prompt and seed."""

import random
import re
import zlib
from typing import Literal

from outrider.serving.simulator.known_answers import known_answer
from outrider.serving.simulator.sentences import CLOSINGS, FOREIGN, MIDDLES, OPENINGS, WRONG

Kind = Literal["normal", "wrong", "foreign"]

_NOT_A_TOPIC = frozenset({
    "about", "after", "again", "answer", "because", "before", "between", "could", "every", "explain", "from", "give",
    "have", "into", "just", "list", "make", "more", "please", "sentence", "should", "single", "some", "tell", "than",
    "that", "their", "them", "then", "there", "these", "they", "this", "those", "what", "when", "where", "which",
    "while", "with", "word", "words", "would", "write", "your",
})  # fmt: skip


def compose(question: str, *, seed: int, kind: Kind = "normal", minimum_characters: int = 0) -> str:
    """The answer to `question`: at least `minimum_characters` long, and ending where a sentence does.

    Equal arguments give equal text, in every process: nothing here depends on Python's salted hashes.
    """
    source = random.Random(zlib.crc32(f"{seed}:{kind}:{question}".encode("utf-8", "surrogatepass")))  # noqa: S311
    topic = _topic(question)
    parts = [_known(question, kind) or _essay(topic, source, kind)]
    length = len(parts[0])
    while length < minimum_characters:
        parts.append(_sentence(source, kind, topic))
        length += 1 + len(parts[-1])
    return " ".join(parts)


def _known(question: str, kind: Kind) -> str | None:
    known = known_answer(question) if kind != "foreign" else None
    if known is None:
        return None
    return known.wrong if kind == "wrong" else known.right


def _essay(topic: str, source: random.Random, kind: Kind) -> str:
    count = source.randint(2, 6)
    if kind != "normal":
        return " ".join(_sentence(source, kind, topic) for _ in range(count))
    sentences = [source.choice(OPENINGS), *source.sample(MIDDLES, count), source.choice(CLOSINGS)]
    return " ".join(sentence.format(topic=topic) for sentence in sentences)


def _sentence(source: random.Random, kind: Kind, topic: str) -> str:
    sentences = {"normal": MIDDLES, "wrong": WRONG, "foreign": FOREIGN}[kind]
    return source.choice(sentences).format(topic=topic)


def _topic(question: str) -> str:
    """The word of the question that says most: its longest, the last of several."""
    words = [word for word in re.findall(r"[A-Za-z]{4,20}", question[-2000:]) if word.lower() not in _NOT_A_TOPIC]
    return max(reversed(words), key=len) if words else "this subject"
