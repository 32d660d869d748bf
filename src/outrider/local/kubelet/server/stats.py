"""`/stats/summary` and `/metrics/resource`: what the node's pods use.

Shapes: https://github.com/kubernetes/kubernetes/blob/v1.36.3/staging/src/k8s.io/kubelet/pkg/apis/stats/v1alpha1/types.go
and pkg/kubelet/metrics/collectors/resource_metrics.go.
"""

import time
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from outrider.api.meta import format_time, parse_time
from outrider.local.kubelet.podusage import PodUsage, node_usage, pod_usages
from outrider.local.kubelet.server.lookup import KUBELET
from outrider.local.kubelet.usage import Usage, UsageMonitor

USAGE: web.AppKey[UsageMonitor] = web.AppKey("usage", UsageMonitor)
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


async def summary(request: web.Request) -> web.Response:
    """The node and each pod, as JSON."""
    kubelet, monitor = request.app[KUBELET], request.app[USAGE]
    pods = [
        {
            "podRef": _reference(usage),
            "startTime": (usage.pod.get("status") or {}).get("startTime"),
            "containers": [{"name": name, **_figures(each)} for name, each in usage.containers.items()],
            **_figures(usage.total),
        }
        for usage in pod_usages(kubelet, monitor)
    ]
    node = {"nodeName": kubelet.node.name, **_figures(node_usage(kubelet, monitor, time.time()))}
    return web.json_response({"node": node, "pods": pods})


async def resource_metrics(request: web.Request) -> web.Response:
    """The same as counters and gauges, in Prometheus' text format."""
    kubelet, monitor = request.app[KUBELET], request.app[USAGE]
    pods = pod_usages(kubelet, monitor)
    node = node_usage(kubelet, monitor, time.time())
    of_pods = [(_pod_labels(pod), pod.total) for pod in pods]
    of_containers = [
        ({"container": name, **_pod_labels(pod)}, usage) for pod in pods for name, usage in pod.containers.items()
    ]
    lines: list[str] = []
    for prefix, samples in (("node", [({}, node)]), ("pod", of_pods), ("container", of_containers)):
        counted = [(labels, usage.cpu_seconds) for labels, usage in samples]
        lines += _family(
            f"{prefix}_cpu_usage_seconds_total", "counter", f"CPU time of the {prefix} in seconds", counted
        )
        held = [(labels, float(usage.memory)) for labels, usage in samples]
        lines += _family(f"{prefix}_memory_working_set_bytes", "gauge", f"Memory of the {prefix} in bytes", held)
    starts = [
        ({"container": status["name"], **_pod_labels(pod)}, parse_time(started) or 0.0)
        for pod in pods
        for status in (pod.pod.get("status") or {}).get("containerStatuses") or ()
        if (started := ((status.get("state") or {}).get("running") or {}).get("startedAt"))
    ]
    lines += _family("container_start_time_seconds", "gauge", "Start of the container, seconds since the epoch", starts)
    return web.Response(text="\n".join(lines) + "\n", headers={"Content-Type": PROMETHEUS})


def _reference(usage: PodUsage) -> dict[str, str]:
    metadata = usage.pod["metadata"]
    return {"name": metadata["name"], "namespace": metadata.get("namespace", ""), "uid": metadata["uid"]}


def _figures(usage: Usage) -> dict[str, Any]:
    at = format_time(usage.at)
    return {
        "cpu": {
            "time": at,
            "usageNanoCores": round(usage.cpu * 1e9),
            "usageCoreNanoSeconds": round(usage.cpu_seconds * 1e9),
        },
        "memory": {"time": at, "usageBytes": usage.memory, "workingSetBytes": usage.memory, "rssBytes": usage.memory},
    }


def _pod_labels(usage: PodUsage) -> dict[str, str]:
    reference = _reference(usage)
    return {"namespace": reference["namespace"], "pod": reference["name"]}


def _family(name: str, kind: str, meaning: str, samples: Iterable[tuple[dict[str, str], float]]) -> list[str]:
    """One metric. Names of Kubernetes objects need no escaping."""
    lines = [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        pairs = ",".join(f'{label}="{text}"' for label, text in labels.items())
        lines.append(f"{name}{{{pairs}}} {value!r}" if pairs else f"{name} {value!r}")
    return lines
