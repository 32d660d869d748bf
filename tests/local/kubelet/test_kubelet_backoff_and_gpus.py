import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.local.kubelet.backoff import BackOff, go_duration
from outrider.local.kubelet.gpus import GpuPool, GpusTakenError, gpu_environment, wanted_gpus
from outrider.local.kubelet.settings import Settings


def test_restarts_wait_as_kubernetes_does() -> None:
    backoff = BackOff(Settings())
    assert [backoff.next_delay(1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_long_run_starts_the_counting_anew() -> None:
    backoff = BackOff(Settings())
    assert [backoff.next_delay(seconds) for seconds in (1, 1, 1, 600, 1)] == [0, 10, 20, 0, 10]


def test_counting_goes_on_after_a_crash_of_the_kubelet() -> None:
    assert BackOff(Settings(), failures=3).next_delay(1) == 40


DURATIONS = {10: "10s", 0.5: "0.5s", 80: "1m20s", 300: "5m0s", 3600: "1h0m0s"}


def test_durations_are_printed_as_go_prints_them() -> None:
    assert {seconds: go_duration(seconds) for seconds in DURATIONS} == DURATIONS


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 4)), max_size=30))
def test_no_gpu_is_given_twice(steps: list[tuple[str, int]]) -> None:
    pool = GpuPool(8)
    owned: dict[str, list[int]] = {}
    for uid, count in steps:
        if uid in owned:
            pool.release(uid)
            del owned[uid]
            continue
        try:
            owned[uid] = pool.allocate(uid, {"main": count})["main"]
        except GpusTakenError:
            assert count > 8 - sum(map(len, owned.values()))
            continue
        assert len(owned[uid]) == count
    taken = [index for indexes in owned.values() for index in indexes]
    assert len(taken) == len(set(taken))
    assert sorted(pool.free + taken) == list(range(8))


def test_all_containers_of_a_pod_get_theirs_or_none_does() -> None:
    pool = GpuPool(4)
    assert pool.allocate("a", {"one": 1, "two": 2}) == {"one": [0], "two": [1, 2]}
    with pytest.raises(GpusTakenError, match=r"waiting for GPUs: 2 asked for, 1 of 4 free"):
        pool.allocate("b", {"one": 1, "two": 1})
    assert pool.free == [3]


def test_gpus_are_read_from_limits() -> None:
    containers = [
        {"name": "server", "resources": {"limits": {"nvidia.com/gpu": "2"}}},
        {"name": "number", "resources": {"limits": {"nvidia.com/gpu": 1}}},
        {"name": "sidecar"},
    ]
    assert wanted_gpus({"spec": {"containers": containers}}) == {"server": 2, "number": 1}


def test_a_container_without_gpus_sees_none() -> None:
    assert gpu_environment([1, 2]) == {"NVIDIA_VISIBLE_DEVICES": "1,2", "CUDA_VISIBLE_DEVICES": "1,2"}
    assert gpu_environment([]) == {"NVIDIA_VISIBLE_DEVICES": "void", "CUDA_VISIBLE_DEVICES": ""}
