"""Lists and watches: selectors, versions, resuming, bookmarks, and what is too old."""

from typing import Any

from parity.corpus_objects import settings
from parity.corpus_workloads import deployment, pod
from parity.steps import NAMESPACE, Case, Corpus, From, Step, create, delete, listing, patch, watch

from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, NODE, POD, SECRET

HERE = f"metadata.namespace={NAMESPACE}"
"""Fields by which a list of all namespaces is kept to this case's."""


def _labelled(name: str, **labels: str) -> Any:
    return create(CONFIG_MAP, settings(name, metadata={"labels": labels}))


_THREE: Case = [_labelled("a", app="web", tier="front"), _labelled("b", app="web"), _labelled("c", app="db", gpu="")]


def _selects(*selectors: str) -> Case:
    return [*_THREE, *(listing(CONFIG_MAP, labelSelector=selector) for selector in selectors)]


def _fields(*selectors: str) -> Case:
    return [*_THREE, *(listing(CONFIG_MAP, fieldSelector=selector) for selector in selectors)]


_NEW = {"metadata": {"labels": {"app": "web"}}}

LISTS: Corpus = {
    "a list is in the order of names": [
        _labelled("c"),
        _labelled("a"),
        _labelled("b"),
        listing(CONFIG_MAP),
        listing(DEPLOYMENT),
        listing(POD),
    ],
    "labels are selected by equality, sets and presence": _selects(
        "app=web",
        "app==web",
        "app!=web",
        "app in (web,db),tier",
        "app notin (web)",
        "!tier",
        "gpu",
        "gpu=",
        "app=web,tier=front",
        "app in ()",
        "nothing=here",
        " app = web ",
        "app",
    ),
    "label selectors that are none are refused": _selects(
        "app=",
        "=web",
        "app in web",
        "app in (web",
        "a b",
        "app=web,,tier",
        "a/b/c=d",
        "app=a b",
        "app>web",
        "app>3",
    ),
    "fields are selected by name": _fields(
        "metadata.name=a", "metadata.name!=a", "metadata.name=a,metadata.name=b", HERE
    ),
    "field selectors that are none are refused": _fields(
        "data.colour=blue", "metadata.name", "metadata.labels=x", "spec.x=y"
    ),
    "pods are selected by node and phase": [
        create(POD, pod("a", nodeName="n1")),
        create(POD, pod("b")),
        patch(POD, "merge", "b", {"status": {"phase": "Failed", "podIP": "10.0.0.1"}}, "status"),
        listing(POD, fieldSelector="spec.nodeName=n1"),
        listing(POD, fieldSelector="spec.nodeName="),
        listing(POD, fieldSelector="spec.nodeName!="),
        listing(POD, fieldSelector="status.phase=Failed"),
        listing(POD, fieldSelector="status.phase!=Failed,status.phase!=Succeeded"),
        listing(POD, fieldSelector="spec.restartPolicy=Always,spec.serviceAccountName=default"),
        listing(POD, fieldSelector="spec.hostNetwork=false"),
        listing(POD, fieldSelector="status.podIP=10.0.0.1"),
        listing(POD, fieldSelector="spec.containers=x"),
    ],
    "nodes and secrets are selected by their fields": [
        create(NODE, {"metadata": {"name": "listed-{ns}"}, "spec": {"unschedulable": True}}),
        listing(NODE, fieldSelector="metadata.name=listed-{ns},spec.unschedulable=true"),
        listing(NODE, fieldSelector="metadata.name=listed-{ns},spec.unschedulable=false"),
        create(SECRET, {"metadata": {"name": "a"}, "type": "example.com/x"}),
        listing(SECRET, fieldSelector="type=example.com/x"),
        listing(SECRET, fieldSelector="type=Opaque"),
    ],
    "a list with a limit": [
        *_THREE,
        listing(CONFIG_MAP, limit="2"),
        listing(CONFIG_MAP, limit="x"),
        listing(CONFIG_MAP, limit="-1"),
    ],
    "a list at a version": [
        *_THREE,
        listing(CONFIG_MAP, resourceVersion="0"),
        listing(CONFIG_MAP, resourceVersion=From(2, "metadata.resourceVersion"), resourceVersionMatch="NotOlderThan"),
        listing(CONFIG_MAP, resourceVersion=From(0, "metadata.resourceVersion"), resourceVersionMatch="Exact"),
        listing(CONFIG_MAP, resourceVersion="x"),
        listing(CONFIG_MAP, resourceVersionMatch="Exact"),
        listing(CONFIG_MAP, resourceVersionMatch="Nonsense", resourceVersion="1"),
    ],
    "a watch begins with what is there": [*_THREE, watch(CONFIG_MAP, 3), watch(CONFIG_MAP, 3, resourceVersion="0")],
    "a watch resumes after a version": [
        *_THREE,
        patch(CONFIG_MAP, "merge", "a", {"data": {"x": "1"}}),
        delete(CONFIG_MAP, "b"),
        patch(CONFIG_MAP, "merge", "c", {"data": {"x": "1"}}),
        watch(CONFIG_MAP, 5, resourceVersion=From(0, "metadata.resourceVersion")),
        watch(CONFIG_MAP, 3, resourceVersion=From(2, "metadata.resourceVersion")),
    ],
    "a watch of labels sees objects come and go": [
        listing(CONFIG_MAP),
        create(CONFIG_MAP, settings("a")),
        patch(CONFIG_MAP, "merge", "a", _NEW),
        patch(CONFIG_MAP, "merge", "a", {"data": {"x": "1"}}),
        patch(CONFIG_MAP, "merge", "a", {"metadata": {"labels": {"app": "db"}}}),
        patch(CONFIG_MAP, "merge", "a", {"data": {"x": "2"}}),
        patch(CONFIG_MAP, "merge", "a", _NEW),
        delete(CONFIG_MAP, "a"),
        watch(CONFIG_MAP, 5, labelSelector="app=web", resourceVersion=From(0, "metadata.resourceVersion")),
    ],
    "a watch of one object by its name": [
        listing(CONFIG_MAP),
        *_THREE,
        delete(CONFIG_MAP, "b"),
        watch(CONFIG_MAP, 2, fieldSelector="metadata.name=b", resourceVersion=From(0, "metadata.resourceVersion")),
    ],
    "a watch of pods by node": [
        create(POD, pod("a")),
        patch(POD, "merge", "a", {"metadata": {"annotations": {"x": "y"}}}),
        create(
            POD,
            {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": "a"},
                "target": {"kind": "Node", "name": "n1"},
            },
            "binding",
            of="a",
        ),
        delete(POD, "a", {"gracePeriodSeconds": 5}),
        delete(POD, "a", {"gracePeriodSeconds": 0}),
        watch(POD, 2, fieldSelector="spec.nodeName=n1", resourceVersion=From(0, "metadata.resourceVersion")),
    ],
    "a watch ends in time, with a bookmark if one is wanted": [
        *_THREE,
        watch(
            CONFIG_MAP,
            1,
            resourceVersion=From(2, "metadata.resourceVersion"),
            timeoutSeconds="1",
            allowWatchBookmarks="true",
        ),
    ],
    "a watch from what is no version is refused": [
        watch(CONFIG_MAP, 1, resourceVersion="x"),
        watch(CONFIG_MAP, 1, resourceVersion="-1"),
    ],
    "a list and a watch of all namespaces": [
        create(DEPLOYMENT, deployment("web", {"labels": {"of": NAMESPACE}})),
        create(DEPLOYMENT, deployment("other", {"labels": {"of": NAMESPACE}})),
        Step("GET", "/apis/apps/v1/deployments", query={"labelSelector": "of={ns}"}, kind="Deployment"),
        Step(
            "GET",
            "/apis/apps/v1/deployments",
            kind="Deployment",
            events=2,
            query={"labelSelector": "of={ns}", "watch": "true", "timeoutSeconds": "8"},
        ),
    ],
}
