"""The frames of SPDY/3.1 that Kubernetes uses, to bytes and from bytes. Pure.

Specification: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ (2.2 frames, 2.6.10 header blocks).
Kubernetes' library (moby/spdystream) uses neither flow control nor priorities nor settings: those are skipped.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, HEADERS = 1, 2, 3, 6, 7, 8
FLAG_FIN = 1
PROTOCOL_ERROR, REFUSED_STREAM = 1, 3
HEADER_BYTES = 64 * 1024
"""How long a header block may be once it is unpacked."""
FRAME_BYTES = 1 << 24
"""Frames are shorter than this: their length has 24 bits."""


_HEADERS = """
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow
authorization cache-control connection content-base content-encoding content-language content-length content-location
content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match
if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range
referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get
status
"""


def _dictionary() -> bytes:
    """What both sides' compressors know from the start: section 2.6.10.1 of the specification."""
    words = _HEADERS.split()
    counted = b"".join(struct.pack(">I", len(word)) + word.encode() for word in words)
    rest = (
        b"\x00\x00\x00\x06200 OK\x00\x00\x00\x07version\x00\x00\x00\x08HTTP/1.1\x00\x00\x00\x03url"
        b"\x00\x00\x00\x06public\x00\x00\x00\x0aset-cookie\x00\x00\x00\x0akeep-alive\x00\x00\x00\x06origin"
        b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        b"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
        b"403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
        b"Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        b"chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        b"text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
    )
    return counted + rest


DICTIONARY = _dictionary()


class SpdyError(Exception):
    """What came is not SPDY/3.1."""


@dataclass(frozen=True)
class SynStream:
    """The other side opens a stream."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True)
class SynReply:
    """The other side takes a stream on."""

    stream: int
    headers: Mapping[str, str] = field(default_factory=dict)
    fin: bool = False


@dataclass(frozen=True)
class Reset:
    """A stream is given up at once."""

    stream: int
    status: int


@dataclass(frozen=True)
class Ping:
    number: int


@dataclass(frozen=True)
class GoAway:
    """No more streams; the connection is about to be closed."""

    last_stream: int
    status: int = 0


@dataclass(frozen=True)
class Data:
    stream: int
    data: bytes
    fin: bool = False


Frame = SynStream | SynReply | Reset | Ping | GoAway | Data


class FrameWriter:
    """Frames to bytes. One per connection: header blocks lean on those before them."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        match frame:
            case Data(stream, data, fin):
                return struct.pack(">II", stream, _flags(fin) << 24 | len(data)) + data
            case SynStream(stream, headers, fin):
                return _control(SYN_STREAM, _flags(fin), struct.pack(">IIH", stream, 0, 0) + self._pack(headers))
            case SynReply(stream, headers, fin):
                return _control(SYN_REPLY, _flags(fin), struct.pack(">I", stream) + self._pack(headers))
            case Reset(stream, status):
                return _control(RST_STREAM, 0, struct.pack(">II", stream, status))
            case Ping(number):
                return _control(PING, 0, struct.pack(">I", number))
            case GoAway(last_stream, status):
                return _control(GOAWAY, 0, struct.pack(">II", last_stream, status))

    def _pack(self, headers: Mapping[str, str]) -> bytes:
        block = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                block += struct.pack(">I", len(text)) + text
        return self._compressor.compress(block) + self._compressor.flush(zlib.Z_SYNC_FLUSH)


class FrameReader:
    """Bytes to frames. One per connection. Frames of kinds that mean nothing here are skipped."""

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now.

        Raises:
            SpdyError: this is no SPDY.
        """
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            end = 8 + (second & 0xFFFFFF)
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[8:end])
            del self._buffer[:end]
            fin = bool(second >> 24 & FLAG_FIN)
            if first < 1 << 31:
                yield Data(first, body, fin)
            elif (frame := self._control(first, body, fin)) is not None:
                yield frame

    def _control(self, first: int, body: bytes, fin: bool) -> Frame | None:
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise SpdyError(f"a frame of SPDY version {version}, where {VERSION} is spoken")
        try:
            return self._decode(kind, body, fin)
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise SpdyError(f"a frame of kind {kind} that cannot be read: {error}") from None

    def _decode(self, kind: int, body: bytes, fin: bool) -> Frame | None:
        if kind == SYN_STREAM:
            (stream,) = struct.unpack_from(">I", body)
            return SynStream(stream & 0x7FFFFFFF, self._unpack(body[10:]), fin)
        if kind == SYN_REPLY:
            (stream,) = struct.unpack_from(">I", body)
            return SynReply(stream & 0x7FFFFFFF, self._unpack(body[4:]), fin)
        if kind == HEADERS:
            self._unpack(body[4:])  # unread, but what follows leans on it
            return None
        if kind == RST_STREAM:
            stream, status = struct.unpack(">II", body)
            return Reset(stream & 0x7FFFFFFF, status)
        if kind == PING:
            return Ping(*struct.unpack(">I", body))
        if kind == GOAWAY:
            return GoAway(*struct.unpack(">II", body))
        return None

    def _unpack(self, block: bytes) -> dict[str, str]:
        plain = self._decompressor.decompress(block, HEADER_BYTES)
        if self._decompressor.unconsumed_tail:
            raise SpdyError(f"headers of more than {HEADER_BYTES} bytes")
        texts: list[str] = []
        (count,) = struct.unpack_from(">I", plain)
        offset = 4
        while len(texts) < 2 * count:
            (length,) = struct.unpack_from(">I", plain, offset)
            text = plain[offset + 4 : offset + 4 + length]
            if len(text) < length:
                raise SpdyError("headers that are cut off")
            texts.append(text.decode())
            offset += 4 + length
        return dict(zip(texts[::2], texts[1::2], strict=True))


def _flags(fin: bool) -> int:
    return FLAG_FIN if fin else 0


def _control(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack(">HHI", 1 << 15 | VERSION, kind, flags << 24 | len(body)) + body
