"""Deployments, ReplicaSets and pods: defaults, validation, generation, status and scale."""

from typing import Any

from parity.steps import Corpus, From, create, get, obj, patch, put, refused

from outrider.kube.objects import DEPLOYMENT, POD, REPLICA_SET

LABELS = {"app": "web"}


def container(**more: Any) -> dict[str, Any]:
    return {"name": "server", "image": "server:1"} | more


def pod_spec(**more: Any) -> dict[str, Any]:
    """Without a mounted token, so that admission adds no volume to it."""
    return {"automountServiceAccountToken": False, "containers": [container()], **more}


def pod(name: str, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return obj(POD, name, {"labels": LABELS, **(metadata or {})}, spec=pod_spec(**spec))


def workload(**more: Any) -> dict[str, Any]:
    """The spec of a Deployment or ReplicaSet without replicas, which no controller has anything to do for."""
    spec: dict[str, Any] = {
        "replicas": 0,
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": pod_spec()},
    }
    return spec | more


def deployment(name: str, metadata: dict[str, Any] | None = None, /, **server: Any) -> dict[str, Any]:
    """A Deployment whose one container has these fields."""
    spec = pod_spec(containers=[container(**server)])
    return obj(DEPLOYMENT, name, metadata, spec=workload(template={"metadata": {"labels": LABELS}, "spec": spec}))


def deployment_of(name: str, **spec: Any) -> dict[str, Any]:
    """A Deployment whose spec has these fields."""
    return obj(DEPLOYMENT, name, spec=workload(**spec))


def _refused_container(**fields: Any) -> Any:
    return create(DEPLOYMENT, refused(deployment("refused", **fields)))


def _refused(**spec: Any) -> Any:
    return create(DEPLOYMENT, refused(deployment_of("refused", **spec)))


def _refused_pod(**spec: Any) -> Any:
    return create(POD, refused(pod("refused", **spec)))


_PROBE = {"httpGet": {"port": 8080}}
_READY = {"type": "Ready", "status": "True"}

WORKLOADS: Corpus = {
    "a Deployment's defaults": [
        create(DEPLOYMENT, deployment("web")),
        create(
            DEPLOYMENT,
            deployment(
                "full",
                image="server",
                ports=[{"containerPort": 80}],
                readinessProbe=_PROBE,
                livenessProbe={"tcpSocket": {"port": "http"}},
                startupProbe={"exec": {"command": ["true"]}, "failureThreshold": 9},
                lifecycle={"preStop": {"sleep": {"seconds": 3}}, "postStart": {"httpGet": {"port": 80}}},
                env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "EMPTY"}],
                resources={"limits": {"nvidia.com/gpu": 1, "cpu": "1000m", "memory": "2048Mi"}},
            ),
        ),
        create(
            DEPLOYMENT,
            obj(
                DEPLOYMENT,
                "one",
                spec={key: value for key, value in workload().items() if key != "replicas"} | {"paused": True},
            ),
        ),
        create(DEPLOYMENT, deployment_of("recreate", strategy={"type": "Recreate"})),
        create(DEPLOYMENT, deployment_of("rolling", strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})),
    ],
    "a Deployment's volumes and scheduling fields": [
        create(
            DEPLOYMENT,
            deployment_of(
                "web",
                template={
                    "metadata": {"labels": LABELS},
                    "spec": pod_spec(
                        volumes=[
                            {"name": "a", "configMap": {"name": "x"}},
                            {"name": "b", "secret": {"secretName": "x"}},
                            {"name": "c", "emptyDir": {}},
                            {"name": "d", "hostPath": {"path": "/models"}},
                            {"name": "e", "persistentVolumeClaim": {"claimName": "models"}},
                            {"name": "f", "image": {"reference": "models:1"}},
                        ],
                        initContainers=[container(name="init")],
                        nodeSelector={"gpu": "yes"},
                        tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                        topologySpreadConstraints=[
                            {
                                "maxSkew": 1,
                                "topologyKey": "zone",
                                "whenUnsatisfiable": "ScheduleAnyway",
                                "labelSelector": {"matchLabels": LABELS},
                            }
                        ],
                        readinessGates=[{"conditionType": "example.com/ready"}],
                        terminationGracePeriodSeconds=60,
                    ),
                },
            ),
        )
    ],
    "quantities and replicas in other notations": [
        create(
            DEPLOYMENT,
            deployment(
                "web", resources={"limits": {"cpu": 0.5, "memory": "1.5Gi"}, "requests": {"cpu": "0.5", "memory": 1000}}
            ),
        ),
        create(DEPLOYMENT, deployment("gpu", resources={"limits": {"nvidia.com/gpu": "2"}})),
        create(DEPLOYMENT, deployment("exact", resources={"limits": {"cpu": "100e-3", "memory": "1e9"}})),
    ],
    "a Deployment's selector is needed, must match, and is immutable": [
        _refused(selector=None),
        _refused(selector={}),
        _refused(selector={"matchLabels": {"app": "other"}}),
        _refused(selector={"matchExpressions": [{"key": "app", "operator": "Near", "values": ["web"]}]}),
        create(DEPLOYMENT, deployment("web")),
        patch(DEPLOYMENT, "merge", "web", {"spec": {"selector": {"matchLabels": {"tier": "front"}}}}),
        patch(
            DEPLOYMENT,
            "merge",
            "web",
            {"spec": {"selector": {"matchLabels": {"tier": "x"}}, "template": {"metadata": {"labels": {"tier": "x"}}}}},
        ),
    ],
    "a Deployment's spec is validated": [
        create(DEPLOYMENT, refused(obj(DEPLOYMENT, "refused"))),
        _refused(template=None),
        _refused(template={"metadata": {"labels": LABELS}}),
        _refused(template={"metadata": {"labels": LABELS}, "spec": {"containers": []}}),
        _refused(replicas=-1),
        _refused(replicas="three"),
        _refused(replicas=1.5),
        _refused(minReadySeconds=-1),
        _refused(revisionHistoryLimit=-1),
        _refused(progressDeadlineSeconds=1, minReadySeconds=5),
        _refused(strategy={"type": "Sometimes"}),
        _refused(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
        _refused(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        _refused(strategy={"rollingUpdate": {"maxSurge": "many"}}),
        _refused(template={"metadata": {"labels": LABELS}, "spec": pod_spec(restartPolicy="Never")}),
    ],
    "a container is validated": [
        _refused_container(name=""),
        _refused_container(name="Not_A_Label"),
        _refused_container(image=""),
        _refused_container(ports=[{"containerPort": 0}]),
        _refused_container(ports=[{"containerPort": 70000}]),
        _refused_container(ports=[{"containerPort": 80, "name": "Too Long And Odd"}]),
        _refused_container(ports=[{"containerPort": 80, "protocol": "QUIC"}]),
        _refused_container(env=[{"value": "1"}]),
        _refused_container(env=[{"name": "A=B", "value": "1"}]),
        _refused_container(env=[{"name": "A", "value": 1}]),
        _refused_container(
            env=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
        ),
        _refused_container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.nonsense"}}}]),
        _refused_container(imagePullPolicy="Sometimes"),
        _refused_container(resources={"limits": {"cpu": "much"}}),
        _refused_container(resources={"limits": {"cpu": "-1"}}),
        _refused_container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
        _refused_container(resources={"requests": {"nvidia.com/gpu": 1}}),
        _refused_container(resources={"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}}),
        _refused_container(resources={"limits": {"nvidia.com/gpu": "0.5"}}),
        _refused_container(readinessProbe={}),
        _refused_container(readinessProbe={"httpGet": {"port": 0}}),
        _refused_container(readinessProbe={"httpGet": {"port": 80}, "periodSeconds": -1}),
        _refused_container(livenessProbe={"httpGet": {"port": 80}, "successThreshold": 2}),
        _refused_container(volumeMounts=[{"name": "nothing", "mountPath": "/x"}]),
        _refused_container(lifecycle={"preStop": {"sleep": {"seconds": -1}}}),
    ],
    "fields of a wrong type are refused before all else": [
        create(DEPLOYMENT, refused(obj(DEPLOYMENT, "refused", spec="text"))),
        create(DEPLOYMENT, refused(obj(DEPLOYMENT, "refused", spec=[]))),
        _refused_container(args="text"),
        _refused_container(command=[1]),
        _refused(template={"metadata": {"labels": LABELS}, "spec": pod_spec(containers={"name": "server"})}),
        _refused(paused="yes"),
        create(DEPLOYMENT, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": "text"}),
    ],
    "two containers with one name, and names of both sorts": [
        _refused(template={"metadata": {"labels": LABELS}, "spec": pod_spec(containers=[container(), container()])}),
        _refused(template={"metadata": {"labels": LABELS}, "spec": pod_spec(initContainers=[container()])}),
        _refused_container(env=[{"name": "TWICE", "value": "1"}, {"name": "TWICE", "value": "2"}]),
    ],
    "the generation of a Deployment": [
        create(DEPLOYMENT, deployment("web")),
        patch(DEPLOYMENT, "merge", "web", {"metadata": {"labels": {"a": "b"}}}),
        patch(DEPLOYMENT, "merge", "web", {"metadata": {"annotations": {"a": "b"}}}),
        patch(DEPLOYMENT, "merge", "web", {"spec": {"paused": True}}),
        patch(DEPLOYMENT, "merge", "web", {"status": {"replicas": 3}}),
        patch(DEPLOYMENT, "merge", "web", {"spec": {"paused": True}}),
        patch(DEPLOYMENT, "merge", "web", {"status": {"observedGeneration": 2}}, "status"),
        get(DEPLOYMENT, "web"),
    ],
    "a status is written through its subresource alone": [
        create(DEPLOYMENT, deployment("web") | {"status": {"replicas": 5}}),
        patch(
            DEPLOYMENT,
            "merge",
            "web",
            {"status": {"replicas": 3, "observedGeneration": 1}, "spec": {"paused": True}},
            "status",
        ),
        patch(
            DEPLOYMENT,
            "strategic",
            "web",
            {
                "status": {
                    "conditions": [
                        {
                            "type": "Available",
                            "status": "True",
                            "lastTransitionTime": "2026-01-01T00:00:00Z",
                            "lastUpdateTime": "2026-01-01T00:00:00Z",
                        }
                    ]
                }
            },
            "status",
        ),
        patch(
            DEPLOYMENT,
            "strategic",
            "web",
            {"status": {"conditions": [{"type": "Progressing", "status": "True"}]}},
            "status",
        ),
        get(DEPLOYMENT, "web", "status"),
        put(DEPLOYMENT, deployment("web") | {"status": {"replicas": 1, "readyReplicas": 1}}, "status"),
        put(DEPLOYMENT, deployment("web") | {"status": {"replicas": -1}}, "status"),
        patch(DEPLOYMENT, "merge", "web", {"metadata": {"labels": {"by": "status"}}, "status": {}}, "status"),
        patch(DEPLOYMENT, "json", "web", [{"op": "replace", "path": "/status", "value": {}}], "status"),
        patch(
            DEPLOYMENT,
            "merge",
            "web",
            {"metadata": {"resourceVersion": From(0, "metadata.resourceVersion")}, "status": {"replicas": 2}},
            "status",
        ),
        patch(DEPLOYMENT, "merge", "nothing", {"status": {}}, "status"),
    ],
    "the scale of a Deployment": [
        create(DEPLOYMENT, deployment("web", {"labels": LABELS})),
        get(DEPLOYMENT, "web", "scale"),
        patch(DEPLOYMENT, "merge", "web", {"spec": {"paused": True}}),
        patch(DEPLOYMENT, "merge", "web", {"spec": {"replicas": 2}}, "scale"),
        put(DEPLOYMENT, {"metadata": {"name": "web"}, "spec": {"replicas": 0}}, "scale"),
        put(
            DEPLOYMENT,
            {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 0}},
            "scale",
        ),
        put(
            DEPLOYMENT,
            {
                "apiVersion": "autoscaling/v1",
                "kind": "Scale",
                "metadata": {"name": "web", "resourceVersion": From(0, "metadata.resourceVersion")},
                "spec": {"replicas": 1},
            },
            "scale",
        ),
        patch(DEPLOYMENT, "merge", "web", {"spec": {"replicas": -1}}, "scale"),
        patch(DEPLOYMENT, "json", "web", [{"op": "replace", "path": "/spec/replicas", "value": 0}], "scale"),
        get(DEPLOYMENT, "nothing", "scale"),
        get(DEPLOYMENT, "web"),
    ],
    "a ReplicaSet's defaults, scale and validation": [
        create(REPLICA_SET, obj(REPLICA_SET, "web", spec=workload())),
        patch(REPLICA_SET, "merge", "web", {"status": {"replicas": 0, "observedGeneration": 1}}, "status"),
        get(REPLICA_SET, "web", "scale"),
        patch(REPLICA_SET, "merge", "web", {"spec": {"minReadySeconds": 3}}),
        create(REPLICA_SET, refused(obj(REPLICA_SET, "refused", spec=workload(selector={"matchLabels": {"a": "b"}})))),
        create(REPLICA_SET, refused(obj(REPLICA_SET, "refused", spec=workload(replicas=-1)))),
        patch(REPLICA_SET, "merge", "web", {"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
    ],
    "a pod's defaults": [
        create(POD, pod("web")),
        create(
            POD,
            pod(
                "full", containers=[container(image="server:latest", resources={"limits": {"cpu": 1, "memory": "1Gi"}})]
            ),
        ),
        create(
            POD, pod("burst", containers=[container(resources={"requests": {"cpu": "100m"}})], nodeName="some-node")
        ),
        create(
            POD,
            pod(
                "never", restartPolicy="Never", hostNetwork=True, containers=[container(ports=[{"containerPort": 80}])]
            ),
        ),
    ],
    "a pod is validated": [
        create(POD, refused(obj(POD, "refused"))),
        _refused_pod(containers=[]),
        _refused_pod(restartPolicy="Sometimes"),
        _refused_pod(dnsPolicy="Nonsense"),
        _refused_pod(terminationGracePeriodSeconds=-1),
        _refused_pod(activeDeadlineSeconds=0),
        _refused_pod(nodeSelector={"a": "b c"}),
        _refused_pod(tolerations=[{"key": "a", "operator": "Nonsense"}]),
        _refused_pod(hostname="Not_A_Label"),
        _refused_pod(volumes=[{"name": "x"}, {"name": "x"}]),
        _refused_pod(serviceAccountName="does not exist"),
        create(POD, pod("under_score")),
    ],
    "little of a pod's spec can change": [
        create(POD, pod("web")),
        patch(POD, "strategic", "web", {"spec": {"containers": [{"name": "server", "image": "server:2"}]}}),
        patch(POD, "strategic", "web", {"spec": {"containers": [{"name": "server", "args": ["x"]}]}}),
        patch(POD, "merge", "web", {"spec": {"nodeName": "some-node"}}),
        patch(POD, "merge", "web", {"spec": {"activeDeadlineSeconds": 100}}),
        patch(POD, "merge", "web", {"spec": {"activeDeadlineSeconds": 200}}),
        patch(POD, "merge", "web", {"spec": {"terminationGracePeriodSeconds": 1}}),
        patch(POD, "merge", "web", {"spec": {"restartPolicy": "Never"}}),
        patch(
            POD,
            "json",
            "web",
            [{"op": "add", "path": "/spec/tolerations/-", "value": {"key": "x", "operator": "Exists"}}],
        ),
        patch(POD, "json", "web", [{"op": "remove", "path": "/spec/tolerations/0"}]),
        patch(POD, "merge", "web", {"metadata": {"labels": {"new": "label"}}}),
    ],
    "a pod's status": [
        create(POD, pod("web", nodeName="some-node", readinessGates=[{"conditionType": "example.com/gate"}])),
        patch(
            POD,
            "strategic",
            "web",
            {
                "status": {
                    "phase": "Running",
                    "podIP": "10.1.2.3",
                    "podIPs": [{"ip": "10.1.2.3"}],
                    "startTime": "2026-01-01T00:00:00Z",
                    "conditions": [_READY, {"type": "PodScheduled", "status": "True"}],
                    "containerStatuses": [
                        {
                            "name": "server",
                            "image": "server:1",
                            "imageID": "",
                            "ready": True,
                            "restartCount": 0,
                            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                        }
                    ],
                }
            },
            "status",
        ),
        patch(
            POD,
            "strategic",
            "web",
            {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Gone"}]}},
            "status",
        ),
        patch(
            POD,
            "strategic",
            "web",
            {"status": {"conditions": [{"type": "example.com/gate", "status": "True"}]}},
            "status",
        ),
        patch(
            POD,
            "strategic",
            "web",
            {"metadata": {"uid": "11111111-2222-4333-8444-555555555555"}, "status": {"phase": "Failed"}},
            "status",
        ),
        patch(
            POD,
            "strategic",
            "web",
            {"metadata": {"uid": From(0, "metadata.uid")}, "status": {"reason": "Because"}},
            "status",
        ),
        patch(POD, "strategic", "web", {"status": {"podIPs": [{"ip": "10.1.2.4"}]}}, "status"),
        patch(
            POD, "merge", "web", {"spec": {"activeDeadlineSeconds": 5}, "metadata": {"labels": {"x": "y"}}}, "status"
        ),
        get(POD, "web"),
    ],
}
