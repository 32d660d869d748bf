"""The facts beside the counts."""

import msgspec


class PodFacts(msgspec.Struct, frozen=True):
    """One pod of the candidate that is there and not on its way out."""

    uid: str
    name: str
    placed: bool = True
    """It has a node."""
    placed_for: float | None = None
    """Seconds since it got it; None where that is not known."""
    ever_ready: bool = False
    ready: bool = False
    unready_for: float | None = None
    """Seconds for which it has not been ready; None where it is, and where that is not known."""
    restarts: int = 0
    """How often it was, while it crashes again and again; else 0."""
    fault: str = ""
    """What is wrong with its node or GPU (`node-7 is NotReady`, `GPU 0 of node-7: Xid 79`); empty where nothing is."""


class Situation(msgspec.Struct, frozen=True):
    candidate: str
    """The version that is released, as people call it."""
    stable: str = ""
    """The version before it; empty where there is none."""
    pods: tuple[PodFacts, ...] = ()
    """The candidate's."""
    stable_ready: int | None = None
    """Pods of the stable version that take requests now; None where that is not known."""
    stable_there: bool = True
    """Whether there are any pods of the stable version, ready or not."""
    data_age: float | None = None
    """Seconds since the candidate was last counted; None where it never was."""
    unread: float = 0.0
    """Seconds since the counters of the candidate's ready pods could last be read; 0 where none is ready, and where no
    server of this service ever showed any.
    """
    why_unread: str = ""
    """What came instead at the last attempt, in a sentence without its full stop; empty where that is not known."""
    gateway_read: bool = False
    """Whether the counters of the Gateway could be read lately."""
    unreachable: str = ""
    """That the Gateway cannot reach the candidate, in a sentence without its full stop; empty where that is not so, or
    not known."""
    baked: float = 0.0
    """Seconds since the candidate first served in full, but for those in which no replica was wanted."""
    suspended: bool = False
    """No replica is wanted."""
    loaded: float = 0.0
    """Seconds since the first of its pods could answer: so long something could be known of it."""
    complete: bool = False
    """All pods that are to run the candidate now do, and are ready (of a canary: those of its step)."""
    deadline_exceeded: bool = False
    """The rollout has made no progress for as long as it may take."""
    deadline: float = 0.0
    """Seconds that it may take."""
