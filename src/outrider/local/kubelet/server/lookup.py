"""Which pod, container and run a request to the kubelet is about."""

import msgspec
from aiohttp import web

from outrider.kube.api import ApiError, NotFound
from outrider.local.kubelet.container import Container
from outrider.local.kubelet.kubelet import Kubelet
from outrider.local.kubelet.layout import PodRecord
from outrider.local.kubelet.pod import PodWorker
from outrider.local.kubelet.runtime import Run

KUBELET: web.AppKey[Kubelet] = web.AppKey("kubelet", Kubelet)


def find_pod(request: web.Request) -> PodWorker:
    """The pod of the path. Raises `NotFound`."""
    namespace, name = request.match_info["namespace"], request.match_info["pod"]
    worker = request.app[KUBELET].pod(namespace, name)
    if worker is None:
        raise NotFound(f"pod {name}_{namespace} does not exist on this node")
    return worker


def running_container(request: web.Request) -> tuple[PodWorker, Container, Run]:
    """The container of the path and its run. Raises `ApiError` for one that does not run, in a kubelet's words."""
    worker = find_pod(request)
    name = request.match_info["container"]
    container = worker.container(name)
    if container is None or container.run is None:
        raise ApiError(f'container not found ("{name}")')
    return worker, container, container.run


def known_containers(worker: PodWorker) -> PodRecord:
    """The pod's record, also of a pod that could not be admitted yet."""
    record = worker.context.record
    names = [container.name for container in (*worker.init, *worker.main)]
    return record if record.containers else msgspec.structs.replace(record, containers=names)
