"""The cases that kube-controller-manager's own tests name: rounding, proportional scaling, giving way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.api.int_or_percent import resolve
from outrider.api.meta import ObjectMeta
from outrider.kube.objects import DeploymentSpec, DeploymentStrategy, ReplicaSetSpec, RollingUpdate
from outrider.local.actors import rollout_math as math
from outrider.local.actors.names import fnv32a, safe_encode, template_hash
from outrider.local.actors.objects import Deployment, ReplicaSet, ReplicaSetStatus


def deployment(replicas, surge=None, unavailable=None, strategy="RollingUpdate"):
    rolling = RollingUpdate(surge, unavailable)
    return Deployment(spec=DeploymentSpec(replicas=replicas, strategy=DeploymentStrategy(strategy, rolling)))


def replica_set(name, replicas, *, available=None, created="", desired=None, most=None):
    annotations = {}
    if desired is not None:
        annotations = {math.DESIRED_REPLICAS: str(desired), math.MAX_REPLICAS: str(most)}
    return ReplicaSet(
        ObjectMeta(name=name, creation_timestamp=created or f"2026-01-01T00:00:0{name[-1]}Z", annotations=annotations),
        ReplicaSetSpec(replicas=replicas),
        ReplicaSetStatus(available_replicas=replicas if available is None else available),
    )


AMOUNTS = {
    "a number is itself": (3, 10, True, 3),
    "a number as text": ("3", 10, True, 3),
    "an even share": ("50%", 10, True, 5),
    "an odd share rounds up for surge": ("25%", 10, True, 3),
    "an odd share rounds down for unavailable": ("25%", 10, False, 2),
    "a share of nothing": ("25%", 0, True, 0),
    "more than all": ("200%", 3, True, 6),
}


@pytest.mark.parametrize(("value", "total", "round_up", "expected"), AMOUNTS.values(), ids=AMOUNTS.keys())
def test_resolves_numbers_and_percentages(value, total, round_up, expected):
    assert resolve(value, total, round_up=round_up) == expected


@pytest.mark.parametrize("value", ["", "abc", "-5%", "5.5%", "%", "5 percent"])
def test_says_what_is_wrong_with_an_amount(value):
    with pytest.raises(ValueError, match="neither a whole number nor a percentage"):
        resolve(value, 10, round_up=True)


FENCEPOSTS = {
    "the default of 25% each, of 10": (10, None, None, (3, 2)),
    "the default of 25% each, of 1: only surge": (1, None, None, (1, 0)),
    "no surge": (10, 0, "50%", (0, 5)),
    "both round to nothing: one may be missing": (10, 0, "1%", (0, 1)),
    "both are 0": (10, 0, 0, (0, 1)),
    "numbers": (10, 2, 1, (2, 1)),
    "a small share for surge is one pod": (10, "1%", 0, (1, 0)),
}


@pytest.mark.parametrize(("replicas", "surge", "unavailable", "expected"), FENCEPOSTS.values(), ids=FENCEPOSTS.keys())
def test_fenceposts(replicas, surge, unavailable, expected):
    assert math.fenceposts(deployment(replicas, surge, unavailable)) == expected


def test_never_more_unavailable_than_there_are():
    assert math.max_unavailable(deployment(2, 0, 5)) == 2
    assert math.max_unavailable(deployment(0, 0, 5)) == 0
    assert math.max_unavailable(deployment(5, 0, 2, strategy="Recreate")) == 0
    assert math.max_surge(deployment(5, 2, 0, strategy="Recreate")) == 0


@pytest.mark.parametrize(
    ("surge", "replicas", "old", "new", "expected"),
    [(10, 5, 2, 0, 5), (1, 5, 4, 0, 2), (0, 5, 5, 0, 0), (10, 5, 0, 2, 5), (0, 5, 6, 1, 1)],
    ids=["all at once", "as far as the surge allows", "no room", "never more than desired", "too many already"],
)
def test_size_of_the_new_replica_set(surge, replicas, old, new, expected):
    sets = [replica_set("old-1", old), replica_set("new-2", new)]
    assert math.new_set_size(deployment(replicas, surge, 1), sets, new) == expected


# Names are ROLE-AGE; sizes in order of age, oldest first. From TestScale and TestSyncReplicaSet of the real controller.
PROPORTIONS = {
    "up, one old and one new of equal size: the newer takes the rest": (12, 10, [5, 5], 10, [6, 6]),
    "up in the middle of a rollout": (20, 10, [5, 5], 10, [10, 10]),
    "up, by an odd number": (6, 5, [2, 3], 5, [2, 4]),
    "up, the larger set gets what rounding leaves over": (20, 10, [7, 3], 10, [14, 6]),
    "down in proportion": (5, 10, [8, 2], 10, [4, 1]),
    "down, equal sizes: the older one gives more": (5, 10, [5, 5], 10, [2, 3]),
    "up, three sets of unequal size": (20, 10, [5, 3, 2], 10, [10, 6, 4]),
    "down to nothing": (0, 10, [5, 3, 2], 10, [0, 0, 0]),
    "an empty set never grows": (20, 10, [5, 0, 5], 10, [10, 0, 10]),
}


@pytest.mark.parametrize(("to", "before", "sizes", "most", "expected"), PROPORTIONS.values(), ids=PROPORTIONS.keys())
def test_scales_in_proportion(to, before, sizes, most, expected):
    sets = [replica_set(f"set-{age}", size, desired=before, most=most) for age, size in enumerate(sizes)]
    active = [each for each in sets if each.spec.replicas]
    result = math.scaled_in_proportion(deployment(to, 0, 1), active)
    assert [result.get(f"set-{age}", 0) for age in range(len(sizes))] == expected


def test_scaling_in_proportion_keeps_the_surge_of_before():
    # 10 replicas with a surge of 3: 13 pods, of which the rollout has moved 5. Scaled to 30: 33 pods.
    sets = [replica_set("old-1", 8, desired=10, most=13), replica_set("new-2", 5, desired=10, most=13)]
    assert math.scaled_in_proportion(deployment(30, 3, 2), sets) == {"old-1": 20, "new-2": 13}


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=6),
    st.integers(0, 100),
    st.integers(0, 20),
)
def test_scaling_in_proportion_gives_out_exactly_what_is_allowed(sizes, to, surge):
    total = sum(sizes)
    sets = [replica_set(f"set-{age}", size, desired=total, most=total) for age, size in enumerate(sizes)]
    result = math.scaled_in_proportion(deployment(to, surge, 1), sets)
    assert all(size >= 0 for size in result.values())
    assert sum(result.values()) == (to + surge if to else 0)


UNHEALTHY = {
    "nothing is unhealthy": ([(10, 10)], 5, {}),
    "all that is unhealthy": ([(10, 8)], 5, {"set-0": 8}),
    "no more than allowed": ([(10, 0)], 3, {"set-0": 7}),
    "the oldest set first": ([(8, 7), (6, 1)], 3, {"set-0": 7, "set-1": 4}),
    "a status that lags behind a smaller spec": ([(3, 5)], 3, {}),
}


@pytest.mark.parametrize(("sets", "most", "expected"), UNHEALTHY.values(), ids=UNHEALTHY.keys())
def test_unhealthy_old_pods_go_first(sets, most, expected):
    old = [replica_set(f"set-{age}", asked, available=available) for age, (asked, available) in enumerate(sets)]
    assert math.clean_up_unhealthy(old, most) == expected


def test_the_oldest_set_gives_way_first():
    old = [replica_set("set-2", 4), replica_set("set-1", 2)]
    assert math.give_way(old, 3) == {"set-1": 0, "set-2": 3}
    assert math.give_way(old, 0) == {}


def test_fnv_is_the_published_one():
    # Test vectors of the FNV specification (draft-eastlake-fnv).
    assert fnv32a(b"") == 0x811C9DC5
    assert fnv32a(b"a") == 0xE40C292C
    assert fnv32a(b"foobar") == 0xBF9CF968


def test_the_template_hash_depends_on_the_content_alone():
    one = template_hash({"a": 1, "b": {"c": [1, 2], "d": 2}})
    assert one == template_hash({"b": {"d": 2, "c": [1, 2]}, "a": 1})
    assert one != template_hash({"a": 1, "b": {"c": [2, 1], "d": 2}})
    assert one != template_hash({"a": 1, "b": {"c": [1, 2], "d": 2}}, 1)
    assert set(one) <= set("bcdfghjklmnpqrstvwxz2456789")
    assert safe_encode("0123456789") == "456789bcdf"
