"""Addresses that people write."""

from urllib.parse import urlsplit


def is_http_url(text: str) -> bool:
    """Whether it is `http://HOST...` or `https://HOST...`, with a port that there can be, and without a space."""
    if any(character.isspace() for character in text):
        return False
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
