"""Blocks of the KV cache are neither lost nor made up, and equal prefixes share them."""

from hypothesis import given
from hypothesis import strategies as st

from outrider.serving.simulator.kv_cache import BlockPool


def test_what_is_taken_is_in_use() -> None:
    pool = BlockPool(4)
    assert pool.take((), 3)
    assert (pool.available, pool.usage) == (1, 0.75)


def test_more_than_there_is_cannot_be_taken_and_nothing_changes() -> None:
    pool = BlockPool(4)
    assert pool.take((), 3)
    assert not pool.take((), 2)
    assert pool.available == 1


def test_a_published_block_stays_after_use_and_can_be_taken_again() -> None:
    pool = BlockPool(4)
    pool.take((), 1)
    assert pool.publish(11)
    pool.release([11], 0)
    assert (pool.available, pool.matching([11, 12])) == (4, 1)
    assert pool.take([11], 0)
    assert pool.available == 3


def test_two_users_of_a_block_take_its_room_once() -> None:
    pool = BlockPool(4)
    pool.take((), 1)
    pool.publish(11)
    pool.take([11], 1)
    assert pool.available == 2
    pool.release([11], 0)
    assert pool.available == 2


def test_an_equal_block_that_is_computed_twice_stays_private() -> None:
    pool = BlockPool(4)
    pool.take((), 2)
    assert pool.publish(11)
    assert not pool.publish(11)
    pool.release([11], 1)
    assert pool.available == 4


def test_the_least_recently_used_prefix_is_evicted_from_its_end() -> None:
    pool = BlockPool(4)
    for prefix in ([1, 2], [3, 4]):
        pool.take((), 2)
        for block in prefix:
            pool.publish(block)
        pool.release(prefix, 0)
    pool.take((), 1)
    assert (pool.matching([1, 2]), pool.matching([3, 4])) == (1, 2)


def test_a_prefix_that_is_to_be_shared_is_not_evicted_for_the_rest() -> None:
    pool = BlockPool(2)
    pool.take((), 2)
    pool.publish(1)
    pool.publish(2)
    pool.release([1, 2], 0)
    assert not pool.take([1, 2], 1)
    assert pool.take([1], 1)
    assert pool.available == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.booleans()), max_size=40))
def test_all_blocks_come_back(requests: list[tuple[int, int, bool]]) -> None:
    """Users of four prefixes come and go in any order; the room is never negative, and in the end it is all free."""
    pool = BlockPool(12)
    users: list[tuple[list[int], int]] = []
    for prefix, length, leave_one in requests:
        hashes = [prefix * 100 + position for position in range(length)]
        shared = hashes[: pool.matching(hashes)]
        fresh = length - len(shared)
        if pool.take(shared, fresh):
            held = list(shared)
            for block in hashes[len(shared) :]:
                if not pool.publish(block):
                    break
                held.append(block)
                fresh -= 1
            users.append((held, fresh))
        if users and leave_one:
            pool.release(*users.pop(0))
        assert 0 <= pool.available <= pool.total
    for user in users:
        pool.release(*user)
    assert pool.available == pool.total
