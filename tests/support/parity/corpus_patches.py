"""The three kinds of patches, in their corners."""

from typing import Any

from parity.corpus_objects import settings
from parity.corpus_workloads import deployment
from parity.steps import Corpus, create, get, patch

from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, NODE

_CONTAINERS = {"spec": {"template": {"spec": {"containers": None}}}}


def _in_template(value: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": value}}}


def _strategic(value: Any) -> Any:
    return patch(DEPLOYMENT, "strategic", "web", _in_template(value))


PATCHES: Corpus = {
    "a merge patch merges maps, and null removes": [
        create(CONFIG_MAP, settings()),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"colour": None, "shape": "round"}}),
        patch(CONFIG_MAP, "merge", "settings", {"data": None}),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"only": "this", "none": None}}),
        patch(CONFIG_MAP, "merge", "settings", ["no map"]),
        patch(CONFIG_MAP, "merge", "settings", "text"),
        patch(CONFIG_MAP, "merge", "settings", {"data": "text"}),
    ],
    "a merge patch replaces lists": [
        create(DEPLOYMENT, deployment("web")),
        patch(DEPLOYMENT, "merge", "web", _in_template({"containers": [{"name": "other", "image": "other:1"}]})),
        patch(DEPLOYMENT, "merge", "web", _in_template({"containers": []})),
        patch(DEPLOYMENT, "merge", "web", {"spec": {"replicas": None}}),
    ],
    "a strategic patch merges containers by name": [
        create(DEPLOYMENT, deployment("web")),
        _strategic({"containers": [{"name": "server", "image": "server:2"}]}),
        _strategic({"containers": [{"name": "sidecar", "image": "sidecar:1"}]}),
        _strategic(
            {"containers": [{"name": "server", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}
        ),
        _strategic(
            {
                "containers": [
                    {"name": "server", "env": [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]}
                ]
            }
        ),
        _strategic({"containers": [{"name": "sidecar", "$patch": "delete"}]}),
        _strategic({"containers": [{"image": "no-name:1"}]}),
    ],
    "a strategic patch orders lists": [
        create(DEPLOYMENT, deployment("web", env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])),
        _strategic({"containers": [{"name": "server", "env": [{"name": "C", "value": "3"}]}]}),
        _strategic(
            {
                "containers": [
                    {
                        "name": "server",
                        "$setElementOrder/env": [{"name": "C"}, {"name": "B"}, {"name": "D"}, {"name": "A"}],
                        "env": [{"name": "D", "value": "4"}],
                    }
                ]
            }
        ),
        _strategic({"$setElementOrder/containers": [{"name": "server"}]}),
    ],
    "a strategic patch replaces and removes whole parts": [
        create(DEPLOYMENT, deployment("web")),
        _strategic({"containers": [{"$patch": "replace"}, {"name": "only", "image": "only:1"}]}),
        _strategic({"securityContext": {"$patch": "replace", "runAsUser": 7}}),
        _strategic({"securityContext": {"$patch": "delete"}}),
        patch(DEPLOYMENT, "strategic", "web", {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
        patch(DEPLOYMENT, "strategic", "web", {"spec": {"strategy": {"$patch": "nonsense"}}}),
    ],
    "a strategic patch of a set adds and removes members": [
        create(CONFIG_MAP, settings(metadata={"finalizers": ["example.com/a", "example.com/b"]})),
        patch(CONFIG_MAP, "strategic", "settings", {"metadata": {"finalizers": ["example.com/c", "example.com/a"]}}),
        patch(
            CONFIG_MAP,
            "strategic",
            "settings",
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}},
        ),
        patch(
            CONFIG_MAP,
            "strategic",
            "settings",
            {"metadata": {"$setElementOrder/finalizers": ["example.com/b", "example.com/c"], "finalizers": []}},
        ),
        patch(CONFIG_MAP, "strategic", "settings", {"metadata": {"finalizers": None}}),
    ],
    "a strategic patch merges ports by their number alone": [
        create(DEPLOYMENT, deployment("web", ports=[{"containerPort": 80, "name": "http"}])),
        _strategic({"containers": [{"name": "server", "ports": [{"containerPort": 80, "name": "web"}]}]}),
        _strategic({"containers": [{"name": "server", "ports": [{"containerPort": 90, "protocol": "UDP"}]}]}),
    ],
    "a strategic patch merges taints of nodes as a whole by key": [
        create(
            NODE, {"metadata": {"name": "patched-{ns}"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
        ),
        patch(NODE, "strategic", "patched-{ns}", {"spec": {"taints": [{"key": "b", "effect": "NoExecute"}]}}),
        patch(NODE, "strategic", "patched-{ns}", {"spec": {"unschedulable": True}}),
        patch(NODE, "strategic", "patched-{ns}", {"spec": {"unschedulable": None}}),
    ],
    "a JSON patch adds, replaces, removes, moves, copies and tests": [
        create(CONFIG_MAP, settings()),
        patch(CONFIG_MAP, "json", "settings", [{"op": "add", "path": "/data/shape", "value": "round"}]),
        patch(CONFIG_MAP, "json", "settings", [{"op": "replace", "path": "/data/shape", "value": "flat"}]),
        patch(CONFIG_MAP, "json", "settings", [{"op": "move", "from": "/data/shape", "path": "/data/form"}]),
        patch(CONFIG_MAP, "json", "settings", [{"op": "copy", "from": "/data/form", "path": "/data/copy"}]),
        patch(
            CONFIG_MAP,
            "json",
            "settings",
            [{"op": "test", "path": "/data/copy", "value": "flat"}, {"op": "remove", "path": "/data/copy"}],
        ),
        patch(CONFIG_MAP, "json", "settings", [{"op": "add", "path": "/metadata/labels", "value": {"a.b/c": "d"}}]),
        patch(CONFIG_MAP, "json", "settings", [{"op": "replace", "path": "/metadata/labels/a.b~1c", "value": "e"}]),
    ],
    "a JSON patch that does not apply changes nothing": [
        create(CONFIG_MAP, settings()),
        patch(
            CONFIG_MAP,
            "json",
            "settings",
            [{"op": "remove", "path": "/data/colour"}, {"op": "test", "path": "/data/size", "value": "8"}],
        ),
        patch(CONFIG_MAP, "json", "settings", [{"op": "remove", "path": "/data/nothing"}]),
        patch(CONFIG_MAP, "json", "settings", [{"op": "replace", "path": "/data/nothing", "value": "x"}]),
        patch(CONFIG_MAP, "json", "settings", [{"op": "add", "path": "/nothing/deeper", "value": "x"}]),
        patch(CONFIG_MAP, "json", "settings", [{"op": "move", "from": "/data/nothing", "path": "/data/x"}]),
        patch(CONFIG_MAP, "json", "settings", [{"op": "nonsense", "path": "/data/x"}]),
        patch(CONFIG_MAP, "json", "settings", {"op": "add"}),
        patch(CONFIG_MAP, "json", "settings", [{"op": "add", "path": "data", "value": "x"}]),
        get(CONFIG_MAP, "settings"),
    ],
    "a JSON patch works on lists by index": [
        create(DEPLOYMENT, deployment("web", args=["a", "b"])),
        patch(
            DEPLOYMENT, "json", "web", [{"op": "add", "path": "/spec/template/spec/containers/0/args/1", "value": "x"}]
        ),
        patch(
            DEPLOYMENT, "json", "web", [{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "z"}]
        ),
        patch(DEPLOYMENT, "json", "web", [{"op": "remove", "path": "/spec/template/spec/containers/0/args/0"}]),
        patch(
            DEPLOYMENT,
            "json",
            "web",
            [{"op": "replace", "path": "/spec/template/spec/containers/0/args/9", "value": "x"}],
        ),
        patch(
            DEPLOYMENT,
            "json",
            "web",
            [{"op": "replace", "path": "/spec/template/spec/containers/0/args/x", "value": "x"}],
        ),
    ],
}
