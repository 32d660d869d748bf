"""ModelRevision: the immutable snapshot of one release. The list of them is a deployment's history."""

from typing import Literal

import msgspec

from outrider.api.meta import Condition, ObjectMeta

RevisionState = Literal["Candidate", "Serving", "Verified", "Quarantined"]
"""Candidate: made, has not served alone yet. Serving: was fully rolled out and answered a real request.
Verified: served for the whole bake time. Quarantined: somebody or some evidence rejected it."""


class ModelRevisionSpec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Everything that decides how a model answers. Its hash names the revision."""

    deployment: str = ""
    """Name of the LLMDeployment."""
    sequence: int = 0
    """1, 2, 3 ... in the order of first release: the number that `rollout history` shows. Not part of the hash."""
    hash: str = ""
    model_uri: str = ""
    model_name: str = ""
    """The name that clients put into requests (`--served-model-name`)."""
    version: str = ""
    digest: str = ""
    """sha256 of the model as the spec demands it; empty where the spec does not say."""
    registry: str = ""
    quantization: str = ""
    image: str = ""
    image_from_spec: bool = False
    """Whether the spec named the image when this was first released; else it is the operator's choice of that time.
    Not part of the hash."""
    args: tuple[str, ...] = ()
    """The engine's arguments, complete, except addresses and ports."""


class Rejection(msgspec.Struct, frozen=True, rename="camel"):
    """That a release was taken back by itself, and why. It outlasts pins, restarts, and specs that ask for it again."""

    time: str = ""
    """When (RFC 3339). It also names the rejection: `outrider rollout retry` lifts the one of this time."""
    reason: str = ""
    message: str = ""
    """What spoke against it, with the numbers of that moment."""
    severe: bool = False
    """At least half of its last answers were bad: no answer of it is better than waiting for another pod's."""
    fallback: str = ""
    """Hash of the revision that took its place."""
    lifted: bool = False
    """It was asked for anew on purpose, and may be released again."""


class LoadStatus(msgspec.Struct, frozen=True, rename="camel"):
    """How long the pods of a revision took to load, and from where they did."""

    time: str = ""
    """When it was measured (RFC 3339)."""
    seconds: float = 0.0
    """From the creation of a pod to its first good answer: the median where there were several."""
    measured_by: str = ""
    """Drill, or Service: the pods that served."""
    store: str = ""
    """What the weights were loaded from, where they stay when the pod goes: `claim NAME`, or `folder PATH` of the node.
    Empty where nothing of them stays, or nobody knows."""
    nodes: tuple[str, ...] = ()
    """With a folder of the node: the nodes on which pods of the revision have loaded."""


class ModelRevisionStatus(msgspec.Struct, frozen=True, rename="camel"):
    state: RevisionState = "Candidate"
    reason: str = ""
    message: str = ""
    first_served_time: str | None = None
    """When it first served every replica and answered a real request."""
    last_served_time: str | None = None
    """When it was last seen to do so, to a granularity of a minute."""
    verified_time: str | None = None
    rejection: Rejection | None = None
    """The last time that it was rolled back by itself; None where it never was."""
    load: LoadStatus | None = None
    """How it loaded; None where that was never seen."""
    conditions: tuple[Condition, ...] = ()


class ModelRevision(msgspec.Struct, frozen=True, rename="camel"):
    """Named `<deployment>-<hash>`; owned by its LLMDeployment."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ModelRevisionSpec = ModelRevisionSpec()
    status: ModelRevisionStatus = ModelRevisionStatus()
