"""Pods and nodes, looked at once more before a version is taken back or gets requests: caches may be behind and not
know it.

A watch that has fallen silent is found dead only after a minute. Probes fail at once, so that in this minute a pod
whose GPU or node was lost, or that is long gone, looks like one whose version is bad; and one that is gone may look as
if it were ready for requests. What the API server says when it is asked is not behind.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from outrider.api import labels
from outrider.api.meta import ObjectMeta
from outrider.api.names import label_value
from outrider.kube.api import Api, Forbidden
from outrider.kube.objects import NODE, POD, Node, Pod

T = TypeVar("T", Pod, Node)


class Confirmed(msgspec.Struct, frozen=True):
    """Pods of one LLMDeployment and the nodes that they are on, as the API server has them now."""

    pods: Sequence[Pod]
    """Those of its drills are not among them."""
    nodes: Sequence[Node] = ()

    def gone(self, cached: Iterable[Pod]) -> frozenset[str]:
        """Those of the cached pods, by uid, that there are no more."""
        return frozenset(pod.metadata.uid for pod in cached) - {pod.metadata.uid for pod in self.pods}


def over(read: Iterable[T], cached: Iterable[T]) -> list[T]:
    """The cached objects, with what was read in place of what it is newer than."""
    newer = {one.metadata.key: one for one in read}
    return [newer.get(one.metadata.key, one) for one in cached]


async def confirm(api: Api, meta: ObjectMeta, *, with_nodes: bool) -> Confirmed:
    """Ask for them. `with_nodes`: the operator may read nodes.

    Raises `ApiError` where the API server does not answer: nothing is taken back on what cannot be confirmed.
    """
    selector = f"{labels.DEPLOYMENT}={label_value(meta.name)}"
    pods = (await api.list(POD, meta.namespace, labels=selector)).items
    if not with_nodes:
        return Confirmed(pods)
    # Listed one by one: who watches nodes may list them, and need not be allowed to get one.
    names = sorted({pod.spec.node_name for pod in pods if pod.spec.node_name})
    try:
        found = await asyncio.gather(*(api.list(NODE, fields=f"metadata.name={name}") for name in names))
    except Forbidden:  # since lately: what is known of nodes has to do
        return Confirmed(pods)
    return Confirmed(pods, [node for one in found for node in one.items])
