"""Which container's output is meant, and where it comes from."""

from collections.abc import AsyncGenerator

from outrider.kube.api import BadRequest, NotFound
from outrider.kube.objects import POD
from outrider.local.store.log_source import LogOptions, LogSource
from outrider.local.store.store import Store


async def container_logs(
    store: Store, source: LogSource | None, namespace: str, pod: str, container: str, options: LogOptions
) -> AsyncGenerator[bytes, None]:
    """The output of a container of a pod that exists; of its only container where none is named.

    Raises `NotFound` for the pod, `BadRequest` for the container.
    """
    spec = store.get(POD, pod, namespace).object()["spec"]
    names = [item["name"] for part in ("containers", "initContainers") for item in spec.get(part) or []]
    if not container and len(spec["containers"]) > 1:
        raise BadRequest(f"a container name must be specified for pod {pod}, choose one of: [{' '.join(names)}]")
    chosen = container or names[0]
    if chosen not in names:
        raise BadRequest(f"container {chosen} is not valid for pod {pod}, choose one of: [{' '.join(names)}]")
    if source is None:
        raise NotFound("there are no logs here: this store runs without a kubelet")
    async for chunk in source(namespace, pod, chosen, options):
        yield chunk
