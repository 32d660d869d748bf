"""What is really so, from the store's own changes: what people asked for and when, and which pods serve.

The operator knows this late, or not at all. What it does is judged by what it may have known: everything that was true
within the `window` before.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from outrider.api import labels
from outrider.api.int_or_percent import resolve
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.names import service_name
from outrider.api.spec import LLMDeploymentSpec
from outrider.api.spec_operations import STEPWISE
from outrider.api.version import is_previous_stable
from outrider.controllers.deployment.gather import parse_deployment
from outrider.kube.api import Kind, Object
from outrider.kube.objects import ENDPOINT_SLICE, HTTP_ROUTE, POD, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION, VERSION_PIN
from outrider.local.store.history import Change
from outrider.plan.deployment.fleet import steps_of
from outrider.plan.deployment.revision import revision_spec
from outrider.plan.deployment.rolling import max_unavailable
from outrider.plan.deployment.snapshot import PlanConfig
from outrider.sim.incidents import Steer
from outrider.sim.kubelet import has_condition, ready
from outrider.sim.readings import (
    is_of_drill,
    is_shut,
    is_unschedulable,
    on_steps,
    rejection,
    served_by,
    shares_of,
    takers,
)
from outrider.sim.wish import ANY, Wish

NEVER = -1e9
"""Before everything."""


@dataclass
class PodTruth:
    deployment: str
    version: str
    ready_since: float | None = None
    revision: str = ""
    containers_ready: bool = False
    ending: bool = False
    unschedulable: bool = False


@dataclass
class Service:
    """One LLMDeployment, as it really is."""

    wishes: list[Wish] = field(default_factory=list)
    spec: LLMDeploymentSpec | None = None
    generation: int = 0
    spec_version: str = ANY
    spec_revision: str = ANY
    spec_goes_back: bool = False
    pin: str | None = None
    """The version that a pin holds, None where there is no pin."""
    disturbed_at: float = NEVER
    """When somebody last laid hands on what the operator owns, or a pod failed."""
    faulty_until: float = NEVER
    """Until when the scenario has something fail that may be this one's."""
    answered: set[str] = field(default_factory=set)
    """Versions of which a pod was ready at some time."""
    served: dict[str, float] = field(default_factory=dict)
    """Version to the last moment at which as many of its pods were ready as were wanted at some time in the window."""
    blamed: dict[str, float] = field(default_factory=dict)
    """Version to the moment until which something failed that may have been it."""
    taken_back: dict[str, str] = field(default_factory=dict)
    """Revision to version: those that were taken back, while that stands."""
    hardly_answers: set[str] = field(default_factory=set)
    """Of those, the ones that answered hardly anything."""
    taken_back_at: float = NEVER
    """When one was last."""
    ever_taken_back: set[str] = field(default_factory=set)
    aborted_at: float = NEVER
    """When somebody last asked for an abort of what is released."""
    retried_at: float = NEVER
    """When somebody last had released again what was taken back."""
    beside: bool = False
    """Whether a version was ever to be released beside the old one, which takes pods for both."""
    selected: str = ""
    """The revision that its Service selects; empty where that selects every one."""
    shares: dict[str, int] = field(default_factory=dict)
    """See `shares_of`."""
    release: Object | None = None
    """The release that its status tells of, where that is on its steps."""
    ever_selected: set[str] = field(default_factory=set)
    proven: set[str] = field(default_factory=set)
    """Revisions of which it was written down that they served in full, and that one may go back to."""
    idle_since: float | None = None
    """Since when it was seen to have no endpoint although pods of it are ready."""
    slices: dict[str, int] = field(default_factory=dict)
    """EndpointSlice to the number of endpoints in it that take requests."""

    @property
    def endpoints(self) -> int:
        return sum(self.slices.values())

    def wish(self, at: float) -> None:
        """Note what is wanted from now on."""
        version = self.spec_version if self.pin is None else self.pin
        before = self.wishes[-1] if self.wishes else Wish(at)
        made = replace(before, since=at, exists=self.generation > 0, version=version)
        revision = self.spec_revision if self.pin is None else ANY
        goes_back = self.spec_goes_back if self.pin is None else self.pin == ANY
        made = replace(made, spec_version=self.spec_version, revision=revision, goes_back=goes_back)
        made = replace(made, pinned=self.pin is not None)
        if self.spec is not None:  # while it is invalid, what was wanted before goes on
            rolling, replicas = self.spec.deployment.rolling_update, self.spec.desired_replicas
            surge = resolve(rolling.max_surge, replicas, round_up=True)
            self.beside = self.beside or self.spec.deployment.rollout_strategy in STEPWISE
            # Both versions may be rolled over in place, as where an annotation of their pods is changed.
            surge += replicas + surge if self.beside else 0
            made = replace(made, replicas=replicas, surge=surge, unavailable=max_unavailable(self.spec))
        self.wishes.append(made)

    def recent(self, since: float) -> Iterator[Wish]:
        """What was wanted at any time since then."""
        for number, wish in enumerate(self.wishes):
            after = self.wishes[number + 1].since if number + 1 < len(self.wishes) else float("inf")
            if after >= since:
                yield wish


class Truth:
    """`window` is how many seconds late anybody may be."""

    def __init__(self, window: float) -> None:
        self.window = window
        self.services: dict[str, Service] = {}
        self.pods: dict[str, PodTruth] = {}
        self.drilled: dict[str, tuple[bool, bool]] = {}
        """Pods of drills, by uid: whether each is ending, and whether it is loaded."""
        self.hindered_until = NEVER
        """Until when the scenario keeps operators from seeing or doing anything in time."""
        self.longest_load = 0.0
        """Seconds for which the scenario has some pod load."""
        self.routed = False
        """Whether there are routes, which may divide the traffic; else a Service that selects all pods does."""
        self._blamed: dict[str, float] = {}
        """Of versions that fail wherever they run, also in services that come later."""
        self.news = 0
        """How often something happened that the operator has to look at: people's wishes, and pods that come, go,
        become ready or stop being so; and the moments of a release by steps, which time brings.
        """
        self._followed = {
            POD.plural: self._pod,
            LLM_DEPLOYMENT.plural: self._deployment,
            VERSION_PIN.plural: self._version_pin,
            ENDPOINT_SLICE.plural: self._endpoints,
            MODEL_REVISION.plural: self._revision,
            SERVICE.plural: self._selector,
            HTTP_ROUTE.plural: self._route,
        }

    def service(self, name: str) -> Service:
        return self.services.setdefault(name, Service(blamed=dict(self._blamed)))

    def pods_of(self, name: str) -> list[PodTruth]:
        return [pod for pod in self.pods.values() if pod.deployment == name]

    def ready_pods(self, name: str) -> list[PodTruth]:
        return [pod for pod in self.pods_of(name) if pod.ready_since is not None and not pod.ending]

    def serves_in_full(self, name: str, version: str) -> bool:
        """Whether as many pods of a version are ready now as were wanted at some time in the window."""
        serving = sum(1 for pod in self.ready_pods(name) if pod.version == version)
        return any(0 < wish.replicas <= serving for wish in self.service(name).recent(_now() - self.window))

    def is_beside(self, name: str, pod: PodTruth) -> bool:
        """Whether another version is asked for, another one has the traffic, and nobody may go back to the pod's, which
        never served in full.
        """
        service = self.service(name)
        wish = service.wishes[-1] if service.wishes else Wish(NEVER)
        unwanted = wish.goes_back or wish.version not in {ANY, pod.version}
        return unwanted and bool(service.selected) and pod.revision not in {service.selected, *service.proven}

    def gives_way(self, name: str, pod: PodTruth) -> bool:
        """Whether one of the others finds no node, and the pod takes no requests, or is of what was taken back; or one
        is ready, and the pod is of what was taken back for answering hardly anything.
        """
        service = self.service(name)
        others = [one for one in self.pods_of(name) if one.revision != pod.revision and not one.ending]
        waiting = [one for one in others if one.unschedulable]
        if pod.revision in service.hardly_answers and any(one.ready_since is not None for one in others):
            return True
        if pod.revision in service.taken_back:
            return bool(waiting)
        return service.selected not in ("", pod.revision) and any(one.revision == service.selected for one in waiting)

    def is_passed_over(self, name: str, pod: PodTruth) -> bool:
        """Whether the pod takes no requests, and people ask for a third version: that has what serves to go back to."""
        service = self.service(name)
        main = self._selected_versions(name)
        idle = service.selected not in ("", pod.revision) and not service.shares.get(pod.revision)
        return idle and bool(service.wishes) and service.wishes[-1].version not in {ANY, pod.version, *main}

    def is_superseded(self, name: str, pod: PodTruth) -> bool:
        """Whether the pod is of a candidate beside what serves, that people have replaced by yet another version.

        It was more than was wanted. Not where they went back to what serves, and not if it ever served by itself.
        """
        service = self.service(name)
        if not service.selected or pod.revision in service.ever_selected:
            return False
        main = self._selected_versions(name)
        others = [wish for wish in service.recent(_now() - self.window) if wish.version not in {ANY, *main}]
        yet_another = len(others) > 1 or service.wishes[-1:] == others  # the first of several asked for this very pod
        return yet_another or self._asks_for_a_third(service, pod)

    def _selected_versions(self, name: str) -> set[str]:
        selected = self.service(name).selected
        return {one.version for one in self.pods_of(name) if one.revision == selected}

    def _asks_for_a_third(self, service: Service, pod: PodTruth) -> bool:
        """Whether the spec has asked for the pod's revision, and since then for one that is not what serves either: of
        the same version, it may be.
        """
        asked = [place for place, wish in enumerate(service.wishes) if wish.revision == pod.revision]
        since = service.wishes[asked[-1] + 1 :] if asked else []
        return any(wish.revision not in {ANY, service.selected} for wish in since)

    def disturb(self, name: str) -> None:
        self.service(name).disturbed_at = _now()

    def steered(self, one: Steer) -> None:
        if one.how == "abort":
            self.service(one.deployment).aborted_at = _now()

    def retried(self, name: str) -> None:
        service = self.service(name)
        service.retried_at = _now()
        self._news_of_wish(service)

    def hinder(self, until: float) -> None:
        """Operators see or do nothing in time until then."""
        self.hindered_until = max(self.hindered_until, until)

    def faults_until(self, at: float) -> None:
        """Something fails until then: whose pods it is about is not looked into."""
        for service in self.services.values():
            service.faulty_until = max(service.faulty_until, at)

    def blame(self, version: str, until: float, name: str = "") -> None:
        """Pods of the version fail until then; of one service, or of all."""
        if not name:
            self._blamed[version] = max(self._blamed.get(version, NEVER), until)
        for one in [self.service(name)] if name else self.services.values():
            one.blamed[version] = max(one.blamed.get(version, NEVER), until)

    # Following the store

    def follow(self, kind: Kind[Any], change: Change, obj: Object) -> None:
        """Take in one change of the store; `obj` is the object as it is now, or was when it was removed."""
        follow = self._followed.get(kind.plural)
        if follow is not None:
            follow(change, obj)

    def _pod(self, change: Change, obj: Object) -> None:
        meta, at = obj["metadata"], _now()
        name = (meta.get("labels") or {}).get(labels.DEPLOYMENT, "")
        if is_of_drill(obj):
            self._drilled(change, obj)
        if not name:
            return
        if change.removed:
            self.news += self.pods.pop(meta["uid"], None) is not None
            return
        pod = self.pods.get(meta["uid"])
        if pod is None:
            self.news += 1
            pod = self.pods[meta["uid"]] = PodTruth(
                name, meta["labels"].get(labels.MODEL_VERSION, ""), revision=meta["labels"].get(labels.REVISION, "")
            )
        self._note_in_full(name, pod.version)  # until this very moment
        before = (pod.ready_since is None, pod.ending, pod.containers_ready)
        was_ready = pod.ready_since is not None and not pod.ending
        pod.ending = bool(meta.get("deletionTimestamp"))
        is_ready = ready(obj)
        if was_ready and not is_ready and not pod.ending and not is_shut(obj):
            self.disturb(name)
        pod.ready_since = (pod.ready_since if was_ready else at) if is_ready else None
        pod.containers_ready = has_condition(obj, "ContainersReady")
        pod.unschedulable = is_unschedulable(obj)
        self.news += before != (pod.ready_since is None, pod.ending, pod.containers_ready)
        if is_ready:
            self.service(name).answered.add(pod.version)
        self._note_in_full(name, pod.version)

    def _note_in_full(self, name: str, version: str) -> None:
        if self.serves_in_full(name, version):
            self.service(name).served[version] = _now()

    def _drilled(self, change: Change, obj: Object) -> None:
        """A pod of a drill came, went, was loaded or began to end: the operator has to look at that."""
        uid = obj["metadata"]["uid"]
        now = (bool(obj["metadata"].get("deletionTimestamp")), has_condition(obj, "ContainersReady"))
        self.news += self.drilled.get(uid) != now or change.removed
        if change.removed:
            self.drilled.pop(uid, None)
        else:
            self.drilled[uid] = now

    def _deployment(self, change: Change, obj: Object) -> None:
        service, meta = self.service(obj["metadata"]["name"]), obj["metadata"]
        service.release = on_steps(obj.get("status") or {}) if not change.removed else None
        if change.removed or meta.get("deletionTimestamp"):
            if service.generation:
                service.generation, service.spec = 0, None
                service.spec_version = service.spec_revision = ANY
                service.spec_goes_back = False
                self._wish(service)
            return
        if meta["generation"] == service.generation and change.old is not None:
            return
        service.generation = meta["generation"]
        parsed = parse_deployment(msgspec.json.decode(change.record.data, type=LLMDeployment))
        service.spec = parsed.spec
        written = str(((obj.get("spec") or {}).get("model") or {}).get("version") or ANY)
        service.spec_version = service.spec_revision = ANY
        service.spec_goes_back = is_previous_stable(written)
        if written and not is_previous_stable(written) and parsed.spec is not None:
            service.spec_version = written
            service.spec_revision = revision_spec(meta["name"], parsed.spec, PlanConfig().engine_image).hash
        self._wish(service)

    def _selector(self, change: Change, obj: Object) -> None:
        name = (obj["metadata"].get("labels") or {}).get(labels.DEPLOYMENT, "")
        if not name or obj["metadata"]["name"] != service_name(name):
            return
        service = self.service(name)
        selector = (obj.get("spec") or {}).get("selector") or {}
        service.selected = "" if change.removed else selector.get(labels.REVISION, "")
        service.ever_selected.add(service.selected)

    def _route(self, change: Change, obj: Object) -> None:
        name = (obj["metadata"].get("labels") or {}).get(labels.DEPLOYMENT, "")
        if name:
            self.routed = True
            self.service(name).shares = {} if change.removed else shares_of(obj)

    def _wish(self, service: Service) -> None:
        self._news_of_wish(service)
        service.wish(_now())

    def _news_of_wish(self, service: Service) -> None:
        self.news += 1 + (_moments(service.spec) if service.spec is not None else 0)

    def _version_pin(self, change: Change, obj: Object) -> None:
        spec = obj["spec"]
        service = self.service(spec["deployment"])
        version = str(spec.get("version") or ANY)
        pin = None if change.removed or obj["metadata"].get("deletionTimestamp") else version
        pin = ANY if pin is not None and is_previous_stable(pin) else pin
        if pin != service.pin:
            service.pin = pin
            self._wish(service)

    def _revision(self, change: Change, obj: Object) -> None:
        service, found = self.service(obj["spec"]["deployment"]), rejection(obj)
        revision, version = obj["spec"]["hash"], obj["spec"]["version"]
        if (obj.get("status") or {}).get("firstServedTime"):
            service.proven.add(revision)
        if found is None or found.get("lifted") or change.removed:
            service.taken_back.pop(revision, None)
            service.hardly_answers.discard(revision)
        else:
            if revision not in service.taken_back:
                service.taken_back_at = _now()
            service.taken_back[revision] = version
            service.hardly_answers.update({revision} if found.get("severe") else ())
            service.ever_taken_back.add(version)

    def _endpoints(self, change: Change, obj: Object) -> None:
        meta = obj["metadata"]
        name = served_by(obj)
        if not name:
            return
        service = self.service(name)
        if change.removed:
            service.slices.pop(meta["name"], None)
        else:
            service.slices[meta["name"]] = takers(obj)


def _moments(spec: LLMDeploymentSpec) -> int:
    """What comes of itself once such a version is released: the beginning of each step, of the standby, and its end."""
    return len(steps_of(spec)) + 2 if spec.deployment.rollout_strategy in STEPWISE else 0


def _now() -> float:
    return asyncio.get_running_loop().time()
