"""Fetches a page of metrics over HTTP."""

import aiohttp

MAX_PAGE_BYTES = 16 << 20


async def fetch_page(session: aiohttp.ClientSession, url: str) -> str:
    """The text at `url`.

    Raises:
        aiohttp.ClientError: it cannot be had, is not answered with 2xx, or is longer than `MAX_PAGE_BYTES`.
        OSError: there is no connection.
    """
    async with session.get(url, raise_for_status=True) as response:
        page = bytearray()
        async for chunk in response.content.iter_any():
            page += chunk
            if len(page) > MAX_PAGE_BYTES:
                raise aiohttp.ClientPayloadError(f"the page is larger than {MAX_PAGE_BYTES} bytes")
    return page.decode("utf-8", "replace")
