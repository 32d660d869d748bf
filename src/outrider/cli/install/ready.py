"""Waiting until the operator runs, and saying meanwhile what it waits for."""

import asyncio
from typing import Any

from outrider.cli.errors import CliError, Exit
from outrider.cli.progress import Progress
from outrider.cli.waiting import follow, seconds
from outrider.kube.api import Api, ApiError
from outrider.kube.objects import DEPLOYMENT, POD, Deployment
from outrider.plan.install.objects import NAME, POD_LABELS

_LOOK_SECONDS = 1.0
_IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")


async def wait_for_operator(api: Api, namespace: str, timeout: str) -> None:
    """Wait until every pod of the operator is of the new version and ready.

    Raises:
        CliError: it was not so in time; says what was awaited.
    """
    limit = seconds(timeout, "--timeout")
    sight = _Sight()
    with Progress() as progress:
        ticker = asyncio.create_task(sight.tick(api, namespace, progress))
        try:
            async with asyncio.timeout(limit):
                async for item in follow(api, DEPLOYMENT, NAME, namespace):
                    sight.deployment = item
                    if item is not None and is_complete(item):
                        progress.done(
                            f"the operator is ready: {item.status.available_replicas} of {item.spec.replicas} "
                            f"({progress.elapsed:.1f} s)"
                        )
                        return
        except TimeoutError:
            raise CliError(
                f"timed out after {timeout} waiting for the operator: {sight.sentence()}",
                exit_code=Exit.TIMED_OUT,
                hints=(
                    *sight.hints(),
                    f"see why:  kubectl describe pods --namespace {namespace} --selector {_selector()}",
                    "models that serve go on serving",
                ),
            ) from None
        finally:
            ticker.cancel()


def is_complete(item: Deployment) -> bool:
    """Whether the Deployment has only pods of its latest template, and all of them are available."""
    status = item.status
    return (
        status.observed_generation >= item.metadata.generation
        and status.updated_replicas == status.replicas == status.available_replicas == item.spec.replicas
    )


def _selector() -> str:
    return ",".join(f"{key}={value}" for key, value in POD_LABELS.items())


class _Sight:
    """What was last seen of the operator's Deployment and its pods."""

    def __init__(self) -> None:
        self.deployment: Deployment | None = None
        self._trouble = ""
        self._image = ""

    async def tick(self, api: Api, namespace: str, progress: Progress) -> None:
        while True:
            try:
                pods = (await api.list(POD.into(dict), namespace, labels=_selector())).items
                self._look(pods)
            except ApiError as error:
                self._trouble = error.message
            progress.show(self.sentence())
            await asyncio.sleep(_LOOK_SECONDS)

    def _look(self, pods: tuple[dict[str, Any], ...]) -> None:
        self._trouble = self._image = ""
        for pod in pods:
            for text, image in troubles(pod):
                self._trouble, self._image = text, image
                return

    def sentence(self) -> str:
        item = self.deployment
        if item is None:
            return "its Deployment was not seen yet"
        status = item.status
        text = f"{status.updated_replicas} of {item.spec.replicas} pods are new, {status.available_replicas} ready"
        return f"{text}; {self._trouble}" if self._trouble else text

    def hints(self) -> tuple[str, ...]:
        if not self._image:
            return ()
        build = "build it from the Containerfile, push it to a registry that they reach, and name it with --image"
        return (f"the nodes cannot get the image {self._image}: {build}",)


def troubles(pod: dict[str, Any]) -> list[tuple[str, str]]:
    """What keeps a pod from running, each with the image if that is what is missing."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    found = [
        (f"{name} has no node: {condition.get('message', '')}", "")
        for condition in status.get("conditions") or ()
        if condition["type"] == "PodScheduled" and condition["status"] == "False"
    ]
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            image = container.get("image", "") if reason in _IMAGE_REASONS else ""
            found.append((f"{name}: {reason}: {waiting.get('message', '')}".removesuffix(": "), image))
    return found
