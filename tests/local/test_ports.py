"""Which ports a world listens on."""

import contextlib
import socket

import pytest

from outrider.local.parts import PortTaken, bind


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def test_a_port_that_was_got_keeps_others_out_before_anything_is_served(  # two worlds that start at once
) -> None:
    with contextlib.closing(bind(0, 8080, "--gateway-port")) as first:
        with contextlib.closing(bind(None, _port(first), "--gateway-port")) as second:
            assert _port(second) != _port(first)
        with pytest.raises(PortTaken, match=f"port {_port(first)} on 127.0.0.1 is in use"):
            bind(_port(first), 8080, "--gateway-port")
