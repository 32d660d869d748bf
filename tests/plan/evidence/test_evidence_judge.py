"""One row for each reason a verdict can have, and for what must not lead to it."""

import msgspec
import pytest
from release_evidence import SETTINGS, START, TICK, after, judged, old, pod, pods, situation

from outrider.plan.evidence import PodCounts, State, forgive, judge

FINE = (pods((0, 15)), old((0, 50)))
IDLE = (pods((0, 0)), old((0, 0)))
LONE: tuple[PodCounts, PodCounts] = (pods((0, 15)), {})


def _good(ticks: int = 130) -> State:
    return after([FINE] * ticks)


def _failing(bad: int, ticks: int) -> State:
    return after([FINE] * 2 + [(pods((bad, 15)), old((0, 50)))] * ticks)


def _failed_for_a_while(then_good: int) -> State:
    """All of its answers were bad for four minutes, and then none in so many ticks."""
    return after([(pods((5, 5)), old((0, 10)))] * 50 + [(pods((0, 5)), old((0, 10)))] * then_good)


CASES = {
    "no pod is ready yet": (
        State(),
        situation(pod(ever_ready=False, ready=False), data_age=None),
        "Watching AwaitingPods",
    ),
    "the first answer is awaited for three ticks": (
        State(),
        situation(data_age=None, baked=5),
        "Watching AwaitingRequests",
    ),
    "nothing was ever counted": (State(), situation(data_age=None), "Hold StaleData"),
    "the data is 40 s old": (_good(), situation(data_age=40.0), "Hold StaleData"),
    "data of unknown age, after errors": (_failing(5, 20), situation(data_age=None), "Hold StaleData"),
    "all is well as far as probes tell, and the metrics cannot be read": (
        _good(),
        situation(unread=40.0, baked=700.0, complete=True),
        "Hold StaleData",
    ),
    "the metrics could not be read for two ticks": (_good(20), situation(unread=10.0), "Watching AwaitingTime"),
    "the metrics cannot be read, and every probe fails": (
        _failing(15, 2),
        situation(unread=40.0),
        "RollBack AllRecentFailed",
    ),
    "no traffic, and so no errors": (after([IDLE] * 50), situation(), "Watching AwaitingRequests"),
    "few requests so far": (after([FINE]), situation(), "Watching AwaitingRequests"),
    "few requests after the bake time": (
        after([FINE] + [(pods((0, 0.01)), old((0, 50)))] * 200),
        situation(baked=700.0, complete=True),
        "Hold AwaitingRequests",
    ),
    "all is well so far": (_good(20), situation(), "Watching AwaitingTime"),
    "all is well, and the bake time is over, but one pod is missing": (
        _good(),
        situation(baked=700.0),
        "Watching AwaitingTime",
    ),
    "all is well, and the bake time is over": (_good(), situation(baked=700.0, complete=True), "Good NotWorse"),
    "no version before it, and all is well": (
        after([LONE] * 130),
        situation(stable="", stable_ready=None, baked=700.0, complete=True),
        "Good NotWorse",
    ),
    "no slower, but nobody can tell yet whether it fails more": (
        after([(pods((0, 1)), old((0, 1)))] * 60),
        situation(baked=700.0, complete=True),
        "Watching AwaitingRequests",
    ),
    "after twice the bake time nobody can tell whether it fails more": (
        after([(pods((0, 1)), old((0, 1)))] * 20 + [(pods((1, 1)), old((0, 1)))] + [(pods((0, 1)), old((0, 1)))] * 9),
        situation(baked=1300.0, complete=True),
        "Hold Inconclusive",
    ),
    "one of five requests fails": (_failing(3, 12), situation(), "RollBack ErrorsWorse"),
    "one burst of errors decides nothing": (_failing(5, 1), situation(), "Watching AwaitingTime"),
    "every request fails": (_failing(15, 2), situation(), "RollBack AllRecentFailed"),
    "every request fails in one tick only": (_failing(15, 1), situation(), "Watching AwaitingTime"),
    "every request fails with both versions": (
        after([FINE] * 2 + [(pods((15, 15)), old((50, 50)))] * 4),
        situation(),
        "Hold SharedIncident",
    ),
    "both versions exceed the limit": (
        after([(pods((1, 15)), old((3, 50)))] * 30),
        situation(),
        "Hold SharedIncident",
    ),
    "both versions exceed the limit, and one of five requests to the candidate fails": (
        after([(pods((3, 15)), old((1, 50)))] * 40),
        situation(),
        "RollBack ErrorsWorse",
    ),
    "half of the answers are slow": (
        after([(pods((8, 15), indicator="endToEnd"), old((2, 50), indicator="endToEnd"))] * 12),
        situation(),
        "RollBack LatencyWorse",
    ),
    "first tokens are slow": (
        after([(pods((8, 15), indicator="firstToken"), old((2, 50), indicator="firstToken"))] * 12),
        situation(),
        "RollBack LatencyWorse",
    ),
    "requests run and no token comes": (
        after([(pods((1, 1), indicator="stalled"), old((0, 1), (0, 1), indicator="stalled"))] * 10),
        situation(),
        "RollBack Stalled",
    ),
    "alone, and requests run and no token comes": (
        after(
            [(pods((0, 1), indicator="stalled"), old((0, 1), (0, 1), indicator="stalled"))] * 60
            + [(pods((1, 1), indicator="stalled"), {})] * 40
        ),
        situation(),
        "RollBack Stalled",
    ),
    "the candidate rejects what the other accepts": (
        after([(pods((8, 15), indicator="rejections"), old((1, 50), indicator="rejections"))] * 20),
        situation(),
        "RollBack RejectionsWorse",
    ),
    "both reject the same": (
        after([(pods((5, 15), indicator="rejections"), old((16, 50), indicator="rejections"))] * 20),
        situation(),
        "Watching AwaitingRequests",
    ),
    "alone, and clients make more mistakes than before": (
        after(
            [(pods((0, 15), indicator="rejections"), old((0, 50), indicator="rejections"))] * 20
            + [(pods((8, 15), indicator="rejections"), {})] * 60
        ),
        situation(),
        "Watching AwaitingRequests",
    ),
    "the errors are one pod's, and the others are fine": (
        after([(pods((0, 15), (6, 15), (0, 15)), old((0, 50)))] * 12),
        situation(pod(), pod(1), pod(2)),
        "Hold OnePodOnly",
    ),
    "the errors are one pod's, and the other one had no request yet": (
        after([(pods((6, 15), (0, 0)), old((0, 50)))] * 12),
        situation(pod(), pod(1)),
        "RollBack ErrorsWorse",
    ),
    "two of three pods fail": (
        after([(pods((0, 15), (6, 15), (6, 15)), old((0, 50)))] * 12),
        situation(pod(), pod(1), pod(2)),
        "RollBack ErrorsWorse",
    ),
    "the errors come from a pod on a faulty GPU": (
        _failing(6, 12),
        situation(pod(fault="GPU 0 of node-7: Xid 79")),
        "Hold NodeFault",
    ),
    "a pod is on a faulty node, and the errors are another one's too": (
        after([(pods((6, 15), (6, 15)), old((0, 50)))] * 12),
        situation(pod(), pod(1, fault="node-7 is NotReady")),
        "RollBack ErrorsWorse",
    ),
    "pods of both versions differ among themselves as much as the versions do": (
        after([(pods((0, 50), (4, 50), (3, 50)), old((0, 50), (2, 50), (0, 50)))] * 40),
        situation(pod(), pod(1), pod(2)),
        "Hold PodsDiffer",
    ),
    "pods of the stable version differ, and the candidate is beyond all that": (
        after([(pods((6, 50), (5, 50), (6, 50)), old((0, 50), (1, 50), (0, 50)))] * 40),
        situation(pod(), pod(1), pod(2)),
        "RollBack ErrorsWorse",
    ),
    "alone, and above the limit for two windows": (
        after([FINE] * 20 + [LONE] * 10 + [(pods((2, 15)), {})] * 40),
        situation(),
        "RollBack TriggerFired",
    ),
    "alone, and above the limit for less than one window": (
        after([FINE] * 20 + [LONE] * 11 + [(pods((2, 15)), {})] * 10),
        situation(),
        "Watching AwaitingTime",
    ),
    "alone, above the limit that people wrote, and so was the version before it": (
        after([(pods((1, 15)), old((3, 50)))] * 5 + [(pods((1, 15)), {})] * 50),
        situation(),
        "Watching AwaitingTime",
    ),
    "it crashes again and again": (_good(5), situation(pod(restarts=2, ready=False)), "RollBack CrashLooping"),
    "it crashes again and again, and there is no data": (
        State(),
        situation(pod(restarts=3, ready=False), data_age=None),
        "RollBack CrashLooping",
    ),
    "one of three pods crashes, and the others run": (
        _good(5),
        situation(pod(), pod(1, restarts=4, ready=False), pod(2)),
        "Hold OnePodOnly",
    ),
    "it crashes on a faulty node": (
        _good(5),
        situation(pod(restarts=4, ready=False, fault="node-7 is NotReady")),
        "Hold NodeFault",
    ),
    "it restarted once": (_good(20), situation(pod(restarts=1)), "Watching AwaitingTime"),
    "no pod that was ready still is": (
        _good(5),
        situation(pod(ready=False), pod(1, ready=False)),
        "RollBack NoEndpointsLeft",
    ),
    "no pod is ready for a moment: it may be the hardware": (
        _good(5),
        situation(pod(ready=False, unready_for=9.0)),
        "Watching AwaitingTime",
    ),
    "no pod is ready for two ticks": (
        _good(5),
        situation(pod(ready=False, unready_for=10.0), pod(1, ready=False, unready_for=30.0)),
        "RollBack NoEndpointsLeft",
    ),
    "no pod is ready for a moment, and nobody else serves": (
        _good(5),
        situation(pod(ready=False, unready_for=1.0), stable="", stable_ready=None),
        "Watching AwaitingTime",
    ),
    "no pod is ready for longer, and nobody else serves": (
        _good(5),
        situation(pod(ready=False, unready_for=10.0), stable="", stable_ready=None),
        "RollBack NoEndpointsLeft",
    ),
    "no pod is ready any more, long after the version before was replaced": (
        _good(5),
        situation(pod(ready=False, unready_for=10.0), stable_ready=0, stable_there=False),
        "RollBack NoEndpointsLeft",
    ),
    "the progress deadline is over, and a pod has just got its node": (
        _good(5),
        situation(pod(), pod(1, ready=False, placed_for=3.0), deadline_exceeded=True, deadline=600.0),
        "Hold ProgressDeadlineExceeded",
    ),
    "the progress deadline is over, and a pod has had its node for as long": (
        _good(5),
        situation(pod(), pod(1, ready=False, placed_for=600.0), deadline_exceeded=True, deadline=600.0),
        "RollBack ProgressDeadlineExceeded",
    ),
    "Kubernetes still says that the deadline is over, and nothing is late any more": (
        _good(5),
        situation(pod(), deadline_exceeded=True, deadline=600.0),
        "Watching AwaitingTime",
    ),
    "no pod of either version is ready": (
        _good(5),
        situation(pod(ready=False), stable_ready=0),
        "Hold SharedIncident",
    ),
    "no pod is ready, as their node is not": (
        _good(5),
        situation(pod(ready=False, fault="node-7 is NotReady")),
        "Hold NodeFault",
    ),
    "the only pod was made anew": (
        _good(20),
        situation(pod(1, ready=False, ever_ready=False)),
        "Watching AwaitingTime",
    ),
    "it did not become ready in time": (
        State(),
        situation(pod(ready=False, ever_ready=False), data_age=None, deadline_exceeded=True),
        "RollBack ProgressDeadlineExceeded",
    ),
    "it found no node in time": (
        State(),
        situation(pod(ready=False, ever_ready=False, placed=False), data_age=None, deadline_exceeded=True),
        "Hold ProgressDeadlineExceeded",
    ),
    "it did not become ready in time, on a faulty node": (
        State(),
        situation(
            pod(ready=False, ever_ready=False, fault="node-7 is NotReady"), data_age=None, deadline_exceeded=True
        ),
        "Hold NodeFault",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_verdicts(case) -> None:
    state, facts, expected = CASES[case]
    found = judged(state, facts)
    assert f"{found.kind} {found.reason}" == expected, found.message
    assert found.message.endswith(".")
    assert ".." not in found.message
    assert "v1.3.0" in found.message


MESSAGES = {
    "errors": (
        _failing(3, 12),
        situation(),
        "v1.3.0: 36 of 210 requests failed, v1.2.0: 0 of 700. In fewer than 1 of 200 releases chance alone does that.",
    ),
    "all failed": (
        _failing(15, 2),
        situation(),
        "v1.3.0: 10 of the last 10 requests failed, v1.2.0: 0 of 200.",
    ),
    "one pod": (
        after([(pods((0, 15), (6, 15), (0, 15)), old((0, 50)))] * 12),
        situation(pod(), pod(1), pod(2)),
        (
            "v1.3.0: 72 of 540 requests failed, v1.2.0: 0 of 600, but nearly all with llama-new-1. "
            "It is not the version, it is llama-new-1."
        ),
    ),
    "a trigger": (
        after([FINE] * 20 + [LONE] * 10 + [(pods((2, 15)), {})] * 40),
        situation(),
        (
            "v1.3.0: 44 of 330 requests failed, v1.2.0: 0 of 1000: more than the 1 % that the trigger allows, "
            "in 3 windows of 60 s in a row."
        ),
    ),
    "a faulty GPU": (
        _failing(6, 12),
        situation(pod(fault="GPU 0 of node-7: Xid 79")),
        (
            "v1.3.0: 72 of 210 requests failed, v1.2.0: 0 of 700, but all on faulty hardware. "
            "It is not the version: GPU 0 of node-7: Xid 79."
        ),
    ),
    "old data": (
        _good(),
        situation(data_age=40.0),
        "v1.3.0: the newest data is 40 s old, and nobody can tell.",
    ),
    "metrics that cannot be read": (
        _good(),
        situation(unread=40.0, why_unread="no answer from http://10.0.0.7:8080/metrics within 3 s"),
        (
            "v1.3.0: its metrics could not be read for 40 s (no answer from http://10.0.0.7:8080/metrics within 3 s), "
            "and nobody can tell how its users fare."
        ),
    ),
    "it crashes": (
        _good(5),
        situation(pod(restarts=2, ready=False)),
        "v1.3.0: llama-new-0 crashed 2 times and does not run.",
    ),
    "what was bad some minutes ago, and nothing could be done about it then": (
        _failed_for_a_while(60),
        situation(),
        (
            "v1.3.0: 250 of 550 requests failed since its release began, v1.2.0: 0 of 1100. "
            "In fewer than 1 of 200 releases chance alone does that."
        ),
    ),
    "what was bad has long passed": (
        _failed_for_a_while(240),
        situation(),
        "v1.3.0: nothing proves it worse; 8 min of its bake time are left.",
    ),
    "time": (
        _good(20),
        situation(),
        "v1.3.0: nothing proves it worse; 8 min of its bake time are left.",
    ),
    "good": (
        _good(),
        situation(baked=700.0, complete=True),
        "v1.3.0: 0 of 330 requests failed, v1.2.0: 0 of 1100: no worse after 12 min and 1950 requests.",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_messages_have_the_numbers(case) -> None:
    state, facts, expected = MESSAGES[case]
    assert judged(state, facts).message == expected


def test_the_numbers_are_there_for_machines_too() -> None:
    evidence = judged(_failing(3, 12), situation()).evidence
    assert evidence["errors.candidate.bad"] == 36
    assert evidence["errors.stable.total"] == 700
    assert evidence["wealth"] >= 1 / SETTINGS.alpha
    assert evidence["always_valid_p"] <= SETTINGS.alpha


def test_data_that_stopped_coming_is_old_whatever_the_last_age_was() -> None:
    state = _good()
    assert judged(state, situation(), later=60).reason == "StaleData"


def test_a_pod_that_was_to_blame_is_forgiven_once_it_is_replaced() -> None:
    state = forgive(_failing(6, 12), ["new-0"])
    assert state.of("errors").candidate.total.bad == 0, "or a step would wait for better evidence for ever"
    state = after([(pods((0, 15)), old((0, 50)))] * 30, state=state)
    found = judged(state, situation(pod(1)))
    assert found.reason == "AwaitingTime"
    assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state


NO_LIMIT = msgspec.structs.replace(SETTINGS, limits={})
NOTHING_KNOWN_OF_THE_STABLE_VERSION = {
    "every other request fails": (
        8,
        (
            "RollBack ErrorsWorse",
            (
                "v1.3.0: 176 of 330 requests failed: more than the 10 % that are an incident "
                "(nothing is known of how v1.2.0 fared), in 10 windows of 60 s in a row."
            ),
        ),
    ),
    "one of fifteen fails": (1, ("Good NotWorse", "v1.3.0: 22 of 330 requests failed: no worse after 12 min")),
}
"""What was at zero replicas before, say, and no trigger says how many may fail."""


@pytest.mark.parametrize("case", NOTHING_KNOWN_OF_THE_STABLE_VERSION)
def test_alone_with_nothing_to_compare_with_what_would_be_an_incident_is_one(case: str) -> None:
    bad, (expected, message) = NOTHING_KNOWN_OF_THE_STABLE_VERSION[case]
    state = after([(pods((bad, 15)), {})] * 130, NO_LIMIT)
    found = judge(state, situation(baked=700.0, complete=True), NO_LIMIT, START + 130 * TICK)
    assert (f"{found.kind} {found.reason}", found.message[: len(message)]) == (expected, message)
