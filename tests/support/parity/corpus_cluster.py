"""Nodes, Leases, Events and Namespaces."""

from typing import Any

from parity.steps import Corpus, Step, apply, create, delete, get, obj, patch, put

from outrider.kube.objects import CONFIG_MAP, EVENT, LEASE, NAMESPACE, NODE


def _node(name: str, **more: Any) -> dict[str, Any]:
    return obj(NODE, f"{name}-{{ns}}", **more)


def _event(name: str, **more: Any) -> dict[str, Any]:
    return obj(
        EVENT,
        name,
        **{
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "type": "Normal",
            "reason": "Started",
            "action": "Start",
            "note": "It has started.",
            "reportingController": "example.com/controller",
            "reportingInstance": "one",
            "regarding": {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": "{ns}"},
        }
        | more,
    )


_HELD = {"holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}
_READY = {
    "type": "Ready",
    "status": "True",
    "lastHeartbeatTime": "2026-01-01T00:00:00Z",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}

CLUSTER: Corpus = {
    "a Node comes with a status": [
        create(
            NODE,
            _node(
                "a",
                status={
                    "capacity": {"cpu": "8", "nvidia.com/gpu": "2"},
                    "allocatable": {"cpu": "8", "nvidia.com/gpu": 2},
                    "conditions": [_READY],
                },
            ),
        ),
        patch(
            NODE, "strategic", "a-{ns}", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, "status"
        ),
        patch(NODE, "strategic", "a-{ns}", {"status": {"conditions": [{"type": "Hot", "status": "True"}]}}, "status"),
        patch(NODE, "merge", "a-{ns}", {"status": {"allocatable": {"cpu": "7"}}}),
        patch(NODE, "merge", "a-{ns}", {"metadata": {"labels": {"node-type": "gpu"}}}),
        get(NODE, "a-{ns}"),
        delete(NODE, "a-{ns}"),
    ],
    "a Node is cordoned and tainted": [
        create(NODE, _node("a")),
        patch(NODE, "strategic", "a-{ns}", {"spec": {"unschedulable": True}}),
        patch(NODE, "merge", "a-{ns}", {"spec": {"taints": [{"key": "gpu", "value": "sick", "effect": "NoSchedule"}]}}),
        patch(NODE, "merge", "a-{ns}", {"spec": {"taints": [{"key": "gpu", "effect": "Sometimes"}]}}),
        patch(
            NODE,
            "merge",
            "a-{ns}",
            {
                "spec": {
                    "taints": [
                        {"key": "gpu", "effect": "NoSchedule"},
                        {"key": "gpu", "value": "x", "effect": "NoSchedule"},
                    ]
                }
            },
        ),
        patch(NODE, "strategic", "a-{ns}", {"spec": {"unschedulable": False}}),
        create(NODE, _node("Bad_Name")),
    ],
    "a Lease is taken and renewed": [
        create(LEASE, obj(LEASE, "leader", spec=_HELD)),
        patch(LEASE, "merge", "leader", {"spec": {"renewTime": "2026-01-01T00:00:05.123456Z"}}),
        put(LEASE, obj(LEASE, "leader", spec=_HELD | {"holderIdentity": "two", "leaseTransitions": 1})),
        patch(LEASE, "strategic", "leader", {"spec": {"holderIdentity": ""}}),
        patch(LEASE, "merge", "leader", {"spec": {"leaseDurationSeconds": 0}}),
        patch(LEASE, "merge", "leader", {"spec": {"renewTime": "yesterday"}}),
        patch(LEASE, "merge", "leader", {"spec": {"renewTime": "2026-01-01T00:00:05Z"}}),
        apply(LEASE, obj(LEASE, "other", spec={"holderIdentity": "three"}), "three"),
        create(LEASE, obj(LEASE, "empty")),
        get(LEASE, "leader", "status"),
    ],
    "an Event is written and counted": [
        create(EVENT, _event("one")),
        patch(EVENT, "merge", "one", {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}}),
        get(EVENT, "one"),
        create(EVENT, _event("type", type="Nonsense")),
        create(EVENT, _event("reason", reason="")),
        create(EVENT, _event("note", note="x" * 1025)),
        create(EVENT, _event("time", eventTime=None)),
        create(EVENT, _event("controller", reportingController="")),
        create(EVENT, _event("elsewhere", regarding={"kind": "Pod", "name": "web", "namespace": "other"})),
        patch(EVENT, "merge", "one", {"note": "Another."}),
    ],
    "a Namespace's defaults and names": [
        create(NAMESPACE, obj(NAMESPACE, "{ns}-b")),
        get(NAMESPACE, "{ns}-b"),
        create(NAMESPACE, obj(NAMESPACE, "{ns}-c", {"labels": {"a": "b"}}, spec={"finalizers": ["example.com/x"]})),
        create(NAMESPACE, obj(NAMESPACE, "has.dots")),
        create(NAMESPACE, obj(NAMESPACE, "a" * 64)),
        patch(NAMESPACE, "merge", "{ns}-b", {"metadata": {"labels": {"a": "b", "kubernetes.io/metadata.name": None}}}),
        patch(NAMESPACE, "merge", "{ns}-b", {"metadata": {"labels": {"kubernetes.io/metadata.name": "other"}}}),
        patch(NAMESPACE, "merge", "{ns}-b", {"spec": {"finalizers": []}}),
        patch(NAMESPACE, "merge", "{ns}-b", {"status": {"phase": "Terminating"}}, "status"),
    ],
    "a Namespace that is being deleted takes nothing new": [
        create(NAMESPACE, obj(NAMESPACE, "{ns}-b")),
        Step("POST", "/api/v1/namespaces/{ns}-b/configmaps", obj(CONFIG_MAP, "old"), kind="ConfigMap"),
        delete(NAMESPACE, "{ns}-b"),
        delete(NAMESPACE, "{ns}-b"),
        Step("POST", "/api/v1/namespaces/{ns}-b/configmaps", obj(CONFIG_MAP, "new"), kind="ConfigMap"),
        Step(
            "PATCH",
            "/api/v1/namespaces/{ns}-b/configmaps/old",
            {"data": {"a": "b"}},
            "application/merge-patch+json",
            kind="ConfigMap",
        ),
        Step("DELETE", "/api/v1/namespaces/{ns}-b/configmaps/old", kind="ConfigMap"),
        get(NAMESPACE, "{ns}-b"),
        put(NAMESPACE, obj(NAMESPACE, "{ns}-b", spec={"finalizers": []}), "finalize"),
        get(NAMESPACE, "{ns}-b"),
    ],
    "the namespaces that are always there": [
        get(NAMESPACE, name) for name in ("default", "kube-system", "kube-public", "kube-node-lease")
    ],
}
