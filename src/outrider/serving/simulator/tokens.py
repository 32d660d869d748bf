"""A tokenizer that needs no model: words and word pieces, about four characters of English to a token.

It is not Llama's, but behaves as one where it matters: the pieces join to the exact text, equal text gives equal
pieces (so that prefixes can be cached), and a longer text never has fewer tokens.
"""

import re
import zlib
from collections.abc import Iterable, Sequence

VOCABULARY_SIZE = 128_256
"""As Llama 3.1's, so that token ids look familiar: https://huggingface.co/meta-llama/Llama-3.1-8B config.json."""

_PIECE = re.compile(
    r"<\|[a-z_]{1,32}\|>"  # a marker of the chat template
    r"| ?[^\W\d_]{1,8}"  # a word or a piece of a long one, with the space before it
    r"| ?\d{1,3}"
    r"| ?[^\w\s]"
    r"|\n{1,8}"
    r"|\s{1,8}"
    r"|.",
    re.DOTALL,
)

Role = str


def tokenize(text: str) -> list[str]:
    """The pieces of `text`; joined, they are `text` again."""
    return _PIECE.findall(text)


def token_id(piece: str) -> int:
    """A stable number for a piece. Different pieces may share one: nothing here turns numbers back into text."""
    return zlib.crc32(piece.encode("utf-8", "surrogatepass")) % VOCABULARY_SIZE


def pieces_of_ids(ids: Iterable[int]) -> list[str]:
    """Pieces that stand for a prompt given as token numbers: one for each, equal for equal numbers."""
    return [f"<{number}>" for number in ids]


def render_chat(messages: Sequence[tuple[Role, str]]) -> str:
    """The prompt of a conversation, in the shape of Llama 3's chat template."""
    turns = (f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in messages)
    return f"<|begin_of_text|>{''.join(turns)}<|start_header_id|>assistant<|end_header_id|>\n\n"
