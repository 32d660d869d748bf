"""Server-side apply: several owners, conflicts, giving up fields, lists of every sort, status and scale."""

from typing import Any

from parity.corpus_objects import settings
from parity.corpus_workloads import LABELS, container, deployment, pod_spec, workload
from parity.steps import Corpus, Step, apply, create, get, obj, patch, put

from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, SERVICE


def _data(**data: str) -> dict[str, Any]:
    return obj(CONFIG_MAP, "settings", data=data)


def _service(**spec: Any) -> dict[str, Any]:
    return obj(SERVICE, "web", spec={"clusterIP": "None", **spec})


def _port(number: int, name: str, **more: Any) -> dict[str, Any]:
    return {"port": number, "name": name, **more}


def _template(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return obj(DEPLOYMENT, "web", spec={"template": {"spec": {"containers": list(containers), **spec}}})


APPLIES: Corpus = {
    "apply creates what is not there": [
        apply(CONFIG_MAP, _data(a="1"), "one"),
        apply(CONFIG_MAP, _data(a="1"), "one"),
        get(CONFIG_MAP, "settings"),
    ],
    "an applier that leaves a field out gives it up": [
        apply(CONFIG_MAP, _data(a="1", b="2"), "one"),
        apply(CONFIG_MAP, _data(a="1"), "one"),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings"), "one"),
    ],
    "two appliers of different fields": [
        apply(CONFIG_MAP, _data(a="1"), "one"),
        apply(CONFIG_MAP, _data(b="2"), "two"),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings"), "one"),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings"), "two"),
    ],
    "two appliers of one field conflict unless they agree": [
        apply(CONFIG_MAP, _data(a="1"), "one"),
        apply(CONFIG_MAP, _data(a="2"), "two"),
        apply(CONFIG_MAP, _data(a="1"), "two"),
        apply(CONFIG_MAP, _data(a="2"), "two"),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings"), "one"),
        apply(CONFIG_MAP, _data(a="2"), "two"),
    ],
    "force takes fields over": [
        apply(CONFIG_MAP, _data(a="1", b="1"), "one"),
        apply(CONFIG_MAP, _data(a="2"), "two", force="true"),
        apply(CONFIG_MAP, _data(a="1", b="1"), "one"),
        apply(CONFIG_MAP, _data(b="1"), "one"),
    ],
    "an update takes ownership of what it changes": [
        apply(CONFIG_MAP, _data(a="1", b="1"), "one"),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"a": "2"}}, fieldManager="editor"),
        apply(CONFIG_MAP, _data(a="1", b="1"), "one"),
        apply(CONFIG_MAP, _data(a="1", b="1"), "one", force="true"),
        put(CONFIG_MAP, _data(a="3"), fieldManager="editor"),
        get(CONFIG_MAP, "settings"),
    ],
    "updates in three names": [
        create(CONFIG_MAP, settings(), fieldManager="maker"),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"colour": "red"}}, fieldManager="painter"),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"shape": "round"}}),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"colour": None}}, fieldManager="maker"),
    ],
    "apply after create owns only what it says": [
        create(CONFIG_MAP, settings(metadata={"labels": {"a": "b"}}), fieldManager="maker"),
        apply(CONFIG_MAP, settings(), "one"),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings", data={"colour": "blue"}), "one"),
    ],
    "an apply without a manager, or with what an apply may not say, is refused": [
        patch(CONFIG_MAP, "apply", "settings", _data(a="1")),
        apply(CONFIG_MAP, settings(metadata={"managedFields": [{"manager": "x"}]}), "one"),
        patch(CONFIG_MAP, "apply", "settings", {"data": {"a": "b"}}, fieldManager="one"),
        patch(CONFIG_MAP, "apply", "other", _data(a="1"), fieldManager="one"),
        apply(CONFIG_MAP, settings(metadata={"resourceVersion": "1"}), "one"),
        apply(CONFIG_MAP, settings(metadata={"uid": "11111111-2222-4333-8444-555555555555"}), "one"),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings", data={"a": 1}), "one"),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings", colour="blue"), "one"),
        apply(CONFIG_MAP, _data(a="1"), "x" * 129),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "Bad_Name"), "one"),
        apply(CONFIG_MAP, settings(), "one", "status"),
    ],
    "an apply of nulls": [
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings", {"labels": None}, data={"a": None, "b": "1"}), "one"),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings", data=None), "one"),
    ],
    "an apply in a dry run": [
        apply(CONFIG_MAP, _data(a="1"), "one", dryRun="All"),
        apply(CONFIG_MAP, _data(a="1"), "one"),
        apply(CONFIG_MAP, _data(a="2"), "one", dryRun="All"),
        apply(CONFIG_MAP, _data(a="2"), "two", dryRun="All"),
        get(CONFIG_MAP, "settings"),
    ],
    "labels, annotations, finalizers and owners are owned one by one": [
        apply(
            CONFIG_MAP, obj(CONFIG_MAP, "settings", {"labels": {"a": "1"}, "finalizers": ["example.com/one"]}), "one"
        ),
        apply(
            CONFIG_MAP, obj(CONFIG_MAP, "settings", {"labels": {"b": "2"}, "finalizers": ["example.com/two"]}), "two"
        ),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings", {"labels": {"a": "1"}}), "one"),
        apply(
            CONFIG_MAP,
            obj(
                CONFIG_MAP,
                "settings",
                {
                    "ownerReferences": [
                        {
                            "apiVersion": "v1",
                            "kind": "ConfigMap",
                            "name": "x",
                            "uid": "11111111-2222-4333-8444-555555555555",
                        }
                    ]
                },
            ),
            "one",
        ),
        apply(CONFIG_MAP, obj(CONFIG_MAP, "settings", {"annotations": {"x/y": "z", "a.b": "{}"}}), "two"),
    ],
    "a whole Deployment is applied, changed and applied again": [
        apply(DEPLOYMENT, deployment("web", args=["a"], ports=[{"containerPort": 80, "name": "http"}]), "one"),
        apply(DEPLOYMENT, deployment("web", args=["a", "b"], ports=[{"containerPort": 80, "name": "http"}]), "one"),
        apply(DEPLOYMENT, deployment("web", args=["a", "b"]), "one"),
        apply(DEPLOYMENT, deployment("web"), "one"),
    ],
    "an autoscaler's replicas stay when the applier is silent about them": [
        apply(
            DEPLOYMENT,
            obj(
                DEPLOYMENT,
                "web",
                spec={key: value for key, value in workload(paused=True).items() if key != "replicas"},
            ),
            "one",
        ),
        patch(DEPLOYMENT, "merge", "web", {"spec": {"replicas": 3}}, "scale", fieldManager="autoscaler"),
        apply(
            DEPLOYMENT,
            obj(
                DEPLOYMENT,
                "web",
                spec={key: value for key, value in workload(paused=True).items() if key != "replicas"},
            ),
            "one",
        ),
        apply(DEPLOYMENT, obj(DEPLOYMENT, "web", spec=workload(paused=True, replicas=1)), "one"),
    ],
    "a scale is applied": [
        create(DEPLOYMENT, deployment("web")),
        apply(
            DEPLOYMENT,
            {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 1}},
            "autoscaler",
            "scale",
        ),
        get(DEPLOYMENT, "web"),
    ],
    "containers and their parts have several owners": [
        apply(DEPLOYMENT, deployment("web", env=[{"name": "A", "value": "1"}]), "one"),
        apply(DEPLOYMENT, _template({"name": "sidecar", "image": "sidecar:1"}), "two"),
        apply(DEPLOYMENT, _template({"name": "server", "env": [{"name": "B", "value": "2"}]}), "two"),
        apply(DEPLOYMENT, _template({"name": "server", "image": "server:2"}), "two"),
        apply(DEPLOYMENT, deployment("web"), "one"),
        apply(DEPLOYMENT, _template(), "two"),
    ],
    "defaults around a probe go with it": [
        apply(DEPLOYMENT, deployment("web", readinessProbe={"httpGet": {"port": 80}}), "one"),
        apply(DEPLOYMENT, deployment("web"), "one"),
    ],
    "variables keep the order of the live list": [
        apply(DEPLOYMENT, deployment("web", env=[{"name": "B", "value": "1"}, {"name": "A", "value": "1"}]), "one"),
        apply(
            DEPLOYMENT,
            deployment(
                "web", env=[{"name": "A", "value": "1"}, {"name": "C", "value": "1"}, {"name": "B", "value": "1"}]
            ),
            "one",
        ),
        patch(
            DEPLOYMENT,
            "strategic",
            "web",
            {
                "spec": {
                    "template": {"spec": {"containers": [{"name": "server", "env": [{"name": "X", "value": "9"}]}]}}
                }
            },
            fieldManager="editor",
        ),
        apply(DEPLOYMENT, deployment("web", env=[{"name": "C", "value": "1"}, {"name": "A", "value": "1"}]), "one"),
    ],
    "a list with two items of one key is refused": [
        apply(DEPLOYMENT, deployment("web", env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]), "one"),
        apply(DEPLOYMENT, deployment("other", ports=[{"containerPort": 80}, {"containerPort": 80}]), "one"),
    ],
    "selectors and node selectors are owned as a whole": [
        apply(
            DEPLOYMENT,
            obj(
                DEPLOYMENT,
                "web",
                spec=workload(
                    template={"metadata": {"labels": LABELS}, "spec": pod_spec(nodeSelector={"a": "1", "b": "2"})}
                ),
            ),
            "one",
        ),
        apply(DEPLOYMENT, obj(DEPLOYMENT, "web", spec={"template": {"spec": {"nodeSelector": {"c": "3"}}}}), "two"),
        apply(
            DEPLOYMENT,
            obj(DEPLOYMENT, "web", spec={"template": {"spec": {"nodeSelector": {"c": "3"}}}}),
            "two",
            force="true",
        ),
    ],
    "tolerations and arguments are owned as a whole": [
        apply(
            DEPLOYMENT,
            obj(
                DEPLOYMENT,
                "web",
                spec=workload(
                    template={
                        "metadata": {"labels": LABELS},
                        "spec": pod_spec(
                            tolerations=[{"key": "a", "operator": "Exists"}], containers=[container(args=["a"])]
                        ),
                    }
                ),
            ),
            "one",
        ),
        apply(
            DEPLOYMENT,
            _template({"name": "server", "args": ["b"]}, tolerations=[{"key": "b", "operator": "Exists"}]),
            "two",
        ),
    ],
    "ports of a Service are keyed by number and protocol": [
        apply(SERVICE, _service(ports=[_port(80, "http"), _port(53, "dns", protocol="UDP")]), "one"),
        apply(SERVICE, _service(ports=[_port(53, "dns-tcp", protocol="TCP")]), "two"),
        apply(SERVICE, _service(ports=[_port(80, "web")]), "two"),
        apply(SERVICE, _service(ports=[_port(80, "http")]), "one"),
    ],
    "a status is applied": [
        create(DEPLOYMENT, deployment("web")),
        apply(
            DEPLOYMENT,
            obj(DEPLOYMENT, "web", status={"replicas": 1, "conditions": [{"type": "A", "status": "True"}]}),
            "one",
            "status",
        ),
        apply(
            DEPLOYMENT,
            obj(DEPLOYMENT, "web", status={"conditions": [{"type": "B", "status": "True"}]}),
            "two",
            "status",
        ),
        apply(DEPLOYMENT, obj(DEPLOYMENT, "web", status={"replicas": 2}), "two", "status"),
        apply(DEPLOYMENT, obj(DEPLOYMENT, "web", status={}), "one", "status"),
        apply(DEPLOYMENT, obj(DEPLOYMENT, "web", spec={"paused": True}, status={"replicas": 1}), "one", "status"),
        apply(DEPLOYMENT, obj(DEPLOYMENT, "nothing", status={"replicas": 1}), "one", "status"),
    ],
    "a status in the body of an apply of the object is left out": [
        apply(DEPLOYMENT, deployment("web") | {"status": {"replicas": 4}}, "one")
    ],
    "managed fields can be reset, and only by an update": [
        apply(CONFIG_MAP, _data(a="1"), "one"),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"managedFields": [{}]}}),
        apply(CONFIG_MAP, _data(a="2"), "two"),
        patch(CONFIG_MAP, "json", "settings", [{"op": "replace", "path": "/metadata/managedFields", "value": []}]),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"b": "1"}}, fieldManager="editor"),
    ],
    "kubectl's move from client-side to server-side apply": [
        create(
            DEPLOYMENT,
            deployment("web", {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}),
            fieldManager="kubectl-client-side-apply",
        ),
        apply(DEPLOYMENT, deployment("web", image="server:2"), "kubectl"),
        apply(DEPLOYMENT, deployment("web", image="server:2"), "kubectl", force="true"),
        Step("GET", "/apis/apps/v1/namespaces/{ns}/deployments/web", kind="Deployment"),
    ],
}
