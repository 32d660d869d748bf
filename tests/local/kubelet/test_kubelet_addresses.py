import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.local.kubelet.addresses import NETWORK, AddressesExhaustedError, AddressPool, rewrite_ports


@given(st.lists(st.sampled_from(["allocate", "release", "adopt"]), max_size=30), st.text(max_size=5))
def test_no_two_pods_ever_share_an_address(steps: list[str], seed: str) -> None:
    pool = AddressPool("own", seed=seed)
    given_out: dict[str, str] = {}
    for number, step in enumerate(steps):
        if step == "release" and given_out:
            uid = min(given_out)
            pool.release(uid)
            del given_out[uid]
        elif step == "adopt":
            address = f"127.100.0.{number + 1}"
            given_out[f"uid-{number}"] = pool.adopt(f"uid-{number}", address).address
        elif step == "allocate":
            lease = pool.allocate(f"uid-{number}")
            assert lease.port(8080) == 8080
            given_out[f"uid-{number}"] = lease.address
    assert len(set(given_out.values())) == len(given_out)
    assert all(ipaddress.IPv4Address(address) in ipaddress.IPv4Network(NETWORK) for address in given_out.values())


def test_a_pod_keeps_its_address() -> None:
    pool = AddressPool("own", seed="a")
    first = pool.allocate("uid-1")
    pool.allocate("uid-2")
    assert pool.allocate("uid-1") == first


def test_a_freed_address_is_not_used_again_at_once() -> None:
    pool = AddressPool("own", seed="a")
    first = pool.allocate("uid-1")
    pool.release("uid-1")
    assert pool.allocate("uid-2") != first


def test_an_address_on_which_somebody_listens_is_passed_over() -> None:
    expected = AddressPool("own", seed="here").allocate("uid-1").address
    with socket.create_server((expected, 0)) as other:
        port = other.getsockname()[1]
        assert AddressPool("own", seed="here").allocate("uid-1", [port]).address != expected


def test_an_exhausted_network_says_so() -> None:
    pool = AddressPool("own", network="127.64.0.0/30")
    pool.allocate("uid-1")
    pool.allocate("uid-2")
    with pytest.raises(AddressesExhaustedError, match=r"127\.64\.0\.0/30"):
        pool.allocate("uid-3")


def test_where_there_is_one_address_every_pod_gets_ports_of_its_own() -> None:
    pool = AddressPool("shared")
    first, second = pool.allocate("uid-1", [8080, 9090]), pool.allocate("uid-2", [8080])
    assert first.address == second.address == "127.0.0.1"
    ports = [first.port(8080), first.port(9090), second.port(8080)]
    assert len({*ports, 8080, 9090}) == 5
    assert first.port(1234) == 1234
    assert pool.allocate("uid-1", [8080, 9090]) == first


REWRITES = {
    "a joined option": (["serve", "--port=8080"], ["serve", "--port=40001"]),
    "an option and its value": (["--port", "8080"], ["--port", "40001"]),
    "another port stays": (["--port=9090", "--port", "9090"], ["--port=9090", "--port", "9090"]),
    "a number elsewhere stays": (["8080", "--max-num-seqs", "8080"], ["8080", "--max-num-seqs", "8080"]),
    "another option stays": (["--metrics-port=8080"], ["--metrics-port=8080"]),
    "not a number": (["--port", "http"], ["--port", "http"]),
}


def test_port_options_are_rewritten() -> None:
    for sentence, (argv, expected) in REWRITES.items():
        assert rewrite_ports(argv, {8080: 40001}) == expected, sentence


def test_with_an_address_of_its_own_nothing_is_rewritten() -> None:
    assert rewrite_ports(["--port=8080"], {}) == ["--port=8080"]
