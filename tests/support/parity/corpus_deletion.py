"""Deletion: propagation, finalizers, preconditions, grace, whole collections, and eviction under a budget."""

from typing import Any

from parity.corpus_objects import settings
from parity.corpus_workloads import LABELS, deployment, pod
from parity.steps import Corpus, From, Step, create, delete, get, listing, obj, patch

from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, POD, POD_DISRUPTION_BUDGET

_GUARD = {"finalizers": ["example.com/guard"]}
_OTHER_UID = "11111111-2222-4333-8444-555555555555"


def _running(name: str) -> list[Any]:
    """A pod that a node runs, and that is ready."""
    return [
        create(POD, pod(name, nodeName="some-node")),
        patch(
            POD,
            "strategic",
            name,
            {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
            "status",
        ),
    ]


def _budget(name: str, **spec: Any) -> dict[str, Any]:
    return obj(POD_DISRUPTION_BUDGET, name, spec={"selector": {"matchLabels": LABELS}, **spec})


def _counted(name: str, allowed: int, **status: Any) -> Any:
    """What the disruption controller writes."""
    body = {
        "status": {
            "observedGeneration": 1,
            "disruptionsAllowed": allowed,
            "currentHealthy": 1 + allowed,
            "desiredHealthy": 1,
            "expectedPods": 1 + allowed,
            **status,
        }
    }
    return patch(POD_DISRUPTION_BUDGET, "merge", name, body, "status")


def _evict(name: str, **more: Any) -> Any:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **more}
    return create(POD, body, "eviction", of=name)


DELETION: Corpus = {
    "what is deleted is gone, and not found again": [
        create(CONFIG_MAP, settings()),
        delete(CONFIG_MAP, "settings"),
        delete(CONFIG_MAP, "settings"),
    ],
    "a finalizer holds an object until it is taken away": [
        create(CONFIG_MAP, settings(metadata=_GUARD)),
        delete(CONFIG_MAP, "settings"),
        delete(CONFIG_MAP, "settings"),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"still": "editable"}}),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"finalizers": ["example.com/guard", "example.com/late"]}}),
        create(CONFIG_MAP, settings()),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"finalizers": None}}),
        get(CONFIG_MAP, "settings"),
    ],
    "the generation of what is deleted": [
        create(DEPLOYMENT, deployment("web", _GUARD)),
        delete(DEPLOYMENT, "web"),
        delete(DEPLOYMENT, "web"),
        patch(DEPLOYMENT, "json", "web", [{"op": "remove", "path": "/metadata/finalizers"}]),
        get(DEPLOYMENT, "web"),
    ],
    "preconditions of uid and version": [
        create(CONFIG_MAP, settings()),
        delete(CONFIG_MAP, "settings", {"preconditions": {"uid": _OTHER_UID}}),
        delete(CONFIG_MAP, "settings", {"preconditions": {"resourceVersion": "1"}}),
        delete(
            CONFIG_MAP,
            "settings",
            {"preconditions": {"uid": From(0, "metadata.uid"), "resourceVersion": From(0, "metadata.resourceVersion")}},
        ),
    ],
    "foreground and orphan propagation leave a finalizer for the garbage collector": [
        create(CONFIG_MAP, settings("one")),
        delete(CONFIG_MAP, "one", {"propagationPolicy": "Foreground"}),
        get(CONFIG_MAP, "one"),
        delete(CONFIG_MAP, "one", {"propagationPolicy": "Background"}),
        create(CONFIG_MAP, settings("two")),
        delete(CONFIG_MAP, "two", propagationPolicy="Orphan"),
        patch(CONFIG_MAP, "merge", "two", {"metadata": {"finalizers": []}}),
        create(CONFIG_MAP, settings("three")),
        delete(CONFIG_MAP, "three", {"propagationPolicy": "Nonsense"}),
        delete(CONFIG_MAP, "three", {"orphanDependents": True, "propagationPolicy": "Orphan"}),
        delete(CONFIG_MAP, "three", {"orphanDependents": False}),
        create(CONFIG_MAP, settings("four", metadata=_GUARD)),
        delete(CONFIG_MAP, "four", {"propagationPolicy": "Foreground"}),
        delete(CONFIG_MAP, "four", {"propagationPolicy": "Orphan"}),
    ],
    "deletion options in bodies of all sorts": [
        create(CONFIG_MAP, settings()),
        delete(CONFIG_MAP, "settings", {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}),
        delete(CONFIG_MAP, "settings", {"gracePeriodSeconds": -1}),
        delete(CONFIG_MAP, "settings", {"gracePeriodSeconds": "soon"}),
        delete(CONFIG_MAP, "settings", {"dryRun": ["Some"]}),
        delete(CONFIG_MAP, "settings", {}),
    ],
    "a pod without a node goes at once": [create(POD, pod("web")), delete(POD, "web"), get(POD, "web")],
    "a pod on a node is given its grace period": [
        *_running("web"),
        delete(POD, "web"),
        get(POD, "web"),
        delete(POD, "web", {"gracePeriodSeconds": 60}),
        delete(POD, "web", {"gracePeriodSeconds": 7}),
        patch(POD, "strategic", "web", {"status": {"phase": "Succeeded"}}, "status"),
        delete(POD, "web", {"gracePeriodSeconds": 0}, uid="ignored"),
        get(POD, "web"),
    ],
    "a pod whose own grace period is zero or other": [
        create(POD, pod("zero", nodeName="some-node", terminationGracePeriodSeconds=0)),
        delete(POD, "zero"),
        create(POD, pod("long", nodeName="some-node", terminationGracePeriodSeconds=300)),
        delete(POD, "long"),
        delete(POD, "long", gracePeriodSeconds="1"),
        create(POD, pod("guarded", _GUARD, nodeName="some-node")),
        delete(POD, "guarded", {"gracePeriodSeconds": 0}),
        get(POD, "guarded"),
    ],
    "a pod that has ended goes at once": [
        *_running("web"),
        patch(POD, "strategic", "web", {"status": {"phase": "Failed"}}, "status"),
        delete(POD, "web"),
        get(POD, "web"),
    ],
    "a whole collection is deleted by labels": [
        create(CONFIG_MAP, settings("a", metadata={"labels": LABELS})),
        create(CONFIG_MAP, settings("b", metadata={"labels": LABELS})),
        create(CONFIG_MAP, settings("c")),
        Step("DELETE", "/api/v1/namespaces/{ns}/configmaps", query={"labelSelector": "app=web"}, kind="ConfigMap"),
        listing(CONFIG_MAP),
    ],
    "a pod is evicted where no budget covers it": [
        *_running("web"),
        _evict("web"),
        get(POD, "web"),
        _evict("nothing"),
    ],
    "a budget holds back an eviction, and pays for one": [
        *_running("one"),
        *_running("two"),
        create(POD_DISRUPTION_BUDGET, _budget("web", minAvailable=1)),
        _evict("one"),
        _counted("web", 0),
        _evict("one"),
        _counted("web", 1),
        _evict("one", deleteOptions={"dryRun": ["All"]}),
        get(POD_DISRUPTION_BUDGET, "web"),
        _evict("one"),
        get(POD_DISRUPTION_BUDGET, "web"),
        _evict("two"),
        _evict("one"),
    ],
    "two budgets over one pod": [
        *_running("one"),
        create(POD_DISRUPTION_BUDGET, _budget("web", minAvailable=1)),
        create(POD_DISRUPTION_BUDGET, _budget("also", maxUnavailable=1)),
        _counted("web", 1),
        _counted("also", 1),
        _evict("one"),
    ],
    "an eviction of another uid, and of a pod that does not serve": [
        *_running("one"),
        _evict("one", deleteOptions={"preconditions": {"uid": _OTHER_UID}}),
        create(POD, pod("pending")),
        create(POD_DISRUPTION_BUDGET, _budget("web", minAvailable=1)),
        _evict("pending"),
        get(POD, "pending"),
    ],
    "an unhealthy pod is evicted as the budget's policy says": [
        create(POD, pod("sick", nodeName="some-node")),
        patch(
            POD,
            "strategic",
            "sick",
            {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}},
            "status",
        ),
        create(POD_DISRUPTION_BUDGET, _budget("web", minAvailable=1)),
        _counted("web", 0, currentHealthy=0),
        _evict("sick"),
        patch(POD_DISRUPTION_BUDGET, "merge", "web", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}),
        _evict("sick"),
        get(POD, "sick"),
    ],
    "a budget is validated": [
        create(POD_DISRUPTION_BUDGET, _budget("both", minAvailable=1, maxUnavailable=1)),
        create(POD_DISRUPTION_BUDGET, _budget("negative", minAvailable=-1)),
        create(POD_DISRUPTION_BUDGET, _budget("share", minAvailable="150%")),
        create(POD_DISRUPTION_BUDGET, _budget("words", minAvailable="many")),
        create(POD_DISRUPTION_BUDGET, _budget("neither")),
        create(POD_DISRUPTION_BUDGET, _budget("policy", unhealthyPodEvictionPolicy="Sometimes")),
        create(
            POD_DISRUPTION_BUDGET,
            obj(
                POD_DISRUPTION_BUDGET,
                "operator",
                spec={"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}},
            ),
        ),
        create(POD_DISRUPTION_BUDGET, obj(POD_DISRUPTION_BUDGET, "empty")),
        patch(POD_DISRUPTION_BUDGET, "merge", "neither", {"spec": {"minAvailable": "50%"}}),
        patch(POD_DISRUPTION_BUDGET, "merge", "neither", {"status": {"disruptionsAllowed": -1}}, "status"),
    ],
}
