"""What may go wrong with a release, and what has to become of it: the same table for every strategy."""

from dataclasses import replace

from release_stories import (
    BAD,
    GOOD,
    Incident,
    Look,
    Story,
    has_all_traffic,
    is_held,
    is_tried,
    with_long_prompts,
)

EVERYBODY = (GOOD, BAD)
ONLY_LONG = {"error-above-prompt-tokens": 200}
SLOW = {"slow-token-factor": 20}
"""A token every quarter of a second, and an answer of 16 in four."""
THOUGHT = {"extra-latency-ms": 200}
"""Answers begin when a model has thought: Go's reverse proxy, and so Traefik, breaks off some that begin at once."""
WRONG = ("ErrorsWorse", "AllRecentFailed")
HUNG = (*WRONG, "Stalled")


def stories(strategy: str) -> dict[str, Story]:
    """By a sentence. Rows that make no sense for a strategy are not there."""
    table = {
        **_of_good_versions(strategy),
        **_of_bad_versions(strategy),
        **_of_what_is_not_the_version(strategy),
        **_of_first_versions(),
    }
    if strategy == "BlueGreen":
        # Its preview has no traffic, and afterwards there is nobody to compare with: see 0004, "What stays open".
        del table["a version that refuses (4xx) what the old one answers is taken back"]
    return table


def first_stories(strategy: str) -> dict[str, Story]:
    """Those that are also told behind another gateway, which follows changes every two seconds. None of them has an
    incident: from here nobody reaches the pods of a world with a network of its own.
    """
    table = _of_good_versions(strategy) | _of_bad_versions(strategy)
    wanted = {"good", "errors", "slow", "mute"}
    return {
        sentence: replace(
            story, name=f"{story.name}-{strategy.lower()}", strategy=strategy, everybody=THOUGHT, routes_follow=5.0
        )
        for sentence, story in table.items()
        if story.name in wanted
    }


def _of_good_versions(strategy: str) -> dict[str, Story]:
    replicas = replicas_of(strategy)
    return {
        "a good version takes over and no request fails": Story(
            name="good", ends=has_all_traffic, lossless=True, replicas=replicas
        ),
        "a good version takes over at night, on probes alone": Story(
            name="night", ends=has_all_traffic, per_second=0, replicas=replicas
        ),
        "what clients do wrong (4xx) takes no version back": Story(
            name="clients",
            ends=has_all_traffic,
            everybody=ONLY_LONG | {"error-code": 400},
            prompts=with_long_prompts(),
            replicas=replicas,
        ),
    }


def _of_bad_versions(strategy: str) -> dict[str, Story]:
    replicas, window = replicas_of(strategy), "30s" if strategy == "RollingUpdate" else "10s"
    # Of a blue-green release only its probes would hang: it is told what happens under everybody's traffic.
    hangs = Incident(has_all_traffic if strategy == "BlueGreen" else is_tried, {"wedge": True})
    return {
        "a version that answers errors is taken back": Story(
            name="errors", reasons=WRONG, fault={"error-rate": 0.4}, replicas=replicas, window=window
        ),
        "a version whose engine gives up streams that began well is taken back": Story(
            name="halfway", reasons=WRONG, fault={"engine-error-rate": 0.5}, replicas=replicas, window=window
        ),
        "a slow version is taken back for its latency": Story(
            name="slow",
            reasons=("LatencyWorse", "TriggerFired"),
            fault=SLOW,
            replicas=replicas,
            # Latencies count from a process's 61st second on.
            window="120s" if strategy == "RollingUpdate" else "10s",
            deployment=_one_step("120s"),
        ),
        "a version that hangs while /health says 200 is taken back": Story(
            name="hung",
            reasons=HUNG,
            says="although /health says 200",
            incidents=[hangs],
            replicas=replicas,
            window=window,
        ),
        "a version that never answered, while /health says 200, is taken back before it had a request": Story(
            name="mute",
            reasons=HUNG,
            says="although /health says 200",
            lossless=True,
            fault={"wedge": True},
            replicas=replicas,
            window=window,
        ),
        "a version that crashes at its start is taken back before it had a request": Story(
            name="crash", reasons=("CrashLooping",), lossless=True, fault={"crash-on-start": True}, replicas=replicas
        ),
        "a version that fails only long prompts is taken back": Story(
            name="long", reasons=WRONG, fault=ONLY_LONG, prompts=with_long_prompts(), replicas=replicas, window=window
        ),
        "a version that refuses (4xx) what the old one answers is taken back": Story(
            name="refuses",
            reasons=("RejectionsWorse",),
            fault=ONLY_LONG | {"error-code": 400},
            prompts=with_long_prompts(),
            replicas=replicas,
            window="120s" if strategy == "RollingUpdate" else "10s",
            deployment=_one_step("120s"),
        ),
        "a version whose answers are cut off, which no pod counts, is taken back for what the Gateway knows": Story(
            name="cut",
            reasons=("GatewayFailuresWorse",),
            says="requests failed at the Gateway",
            fault={"truncate-rate": 1},
            replicas=replicas,
            window="120s" if strategy == "RollingUpdate" else "10s",
            # Every second request is streamed: with half of them, dealt in turn, the candidate would get all or none.
            deployment={"canary": {"steps": [{"weight": 30, "duration": "120s"}]}},
        ),
        "a version that turns bad after it took all traffic is taken back": Story(
            name="late",
            reasons=(*WRONG, "TriggerFired"),
            incidents=[Incident(has_all_traffic, {"error-rate": 0.5})],
            replicas=replicas,
        ),
        "a bad version is taken back at night, on probes alone": Story(
            name="dark", reasons=WRONG, fault={"error-rate": 0.5}, per_second=0, replicas=replicas, window=window
        ),
    }


def _of_what_is_not_the_version(strategy: str) -> dict[str, Story]:
    # A step has to last until an incident of both can be told from chance, which takes some five looks.
    replicas, patient = replicas_of(strategy), {"blueGreen": {"previewDuration": "40s"}} | _one_step("40s")
    return {
        "an incident of both versions holds the release, which goes on when it is over": Story(
            name="shared",
            ends=has_all_traffic,
            held="SharedIncident",
            incidents=[
                Incident(is_tried, {"error-rate": 0.4}, EVERYBODY),
                Incident(is_held("SharedIncident"), {"error-rate": 0}, EVERYBODY, lasts=4),
            ],
            replicas=replicas,
            window="30s" if strategy == "RollingUpdate" else "10s",
            deployment=patient,
        ),
        "a version whose metrics cannot be read gets no more traffic until they can": Story(
            name="unread",
            ends=has_all_traffic,
            held="StaleData",
            says="its metrics could not be read for",
            lossless=True,
            fault={"metrics-failure": True},
            incidents=[Incident(_is_held_back, {"metrics-failure": False}, lasts=10)],
            replicas=replicas,
        ),
    }


def _of_first_versions() -> dict[str, Story]:
    return {
        "the first version ever that fails goes on, for there is nothing to go back to": Story(
            name="first",
            ends=_fails_and_serves,
            says="No other version has served yet.",
            fault={"error-rate": 0.4},
            first=True,
        ),
        "the first version ever that crashes is said to crash": Story(
            name="stillborn", ends=_crashes, says="CrashLoopBackOff", fault={"crash-on-start": True}, first=True
        ),
    }


def replicas_of(strategy: str) -> int:
    """Of one replica there is no trial: a rolling update compares it only in passing."""
    return 2 if strategy == "RollingUpdate" else 1


def _one_step(duration: str) -> dict[str, object]:
    """Of a canary release; the other strategies do not look at it."""
    return {"canary": {"steps": [{"weight": 50, "duration": duration}]}}


def _is_held_back(look: Look) -> bool:
    """Held as it should be, and where it was: on its trial, at its first step, in its preview."""
    where = look.stage in ("Trial", "Canary", "Preview") and not look.release.get("step")
    return where and is_held("StaleData")(look)


def _fails_and_serves(look: Look) -> bool:
    """Many requests fail, and it answers the others."""
    rate = str(look.status.get("errorRate", "")).removesuffix("%")
    return look.serving == f"{BAD}-first" and rate.replace(".", "").isdigit() and float(rate) > 10


def _crashes(look: Look) -> bool:
    return look.condition("Ready").get("reason") == "PodsFailing"
