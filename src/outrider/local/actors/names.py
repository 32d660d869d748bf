"""How Kubernetes makes names: template hashes and random suffixes that spell no words."""

import json
import random
from typing import Any

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, and no digits that look like letters (k8s.io/apimachinery util/rand)."""
SUFFIX_LENGTH = 5
_MAX_GENERATED_BASE = 58
"""63 characters less the suffix (k8s.io/apiserver storage/names)."""
_FNV_OFFSET, _FNV_PRIME, _UINT32 = 2166136261, 16777619, 0xFFFFFFFF


def fnv32a(data: bytes) -> int:
    """The 32-bit FNV-1a hash."""
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & _UINT32
    return value


def safe_encode(text: str) -> str:
    """`text` in the safe alphabet, character by character."""
    return "".join(ALPHABET[ord(character) % len(ALPHABET)] for character in text)


def template_hash(template: dict[str, Any], collision_count: int | None = None) -> str:
    """The `pod-template-hash` of a pod template: equal templates have equal hashes, whatever the order of their keys.

    The hash function and encoding are Kubernetes'; the bytes are not (it hashes Go's memory dump of the struct), so
    that a template hashes to another value here than there.
    """
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return safe_encode(str(fnv32a(f"{text}{collision_count or ''}".encode())))


def generate_name(base: str, source: random.Random) -> str:
    """`base` and five random characters, as `metadata.generateName` makes them."""
    suffix = "".join(source.choice(ALPHABET) for _ in range(SUFFIX_LENGTH))
    return base[:_MAX_GENERATED_BASE] + suffix
