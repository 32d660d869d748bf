"""What Outrider promises at every moment, checked at every change of the store.

Each check is told of one change before `Truth` takes it in, and gives a sentence when the promise is broken by it.
Promises are about what the operator does. What others break (a node, a user's hand) it is not blamed for, nor for what
it could not yet know.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from outrider.api import labels
from outrider.api.names import service_name
from outrider.kube.api import Kind, Object
from outrider.kube.objects import DEPLOYMENT, ENDPOINT_SLICE, HTTP_ROUTE, POD, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION
from outrider.local.store.history import Change
from outrider.local.store.records import decode
from outrider.plan.deployment.rejection import ABORTED
from outrider.plan.evidence.verdict import PROGRESS_DEADLINE_EXCEEDED
from outrider.sim.kubelet import has_condition, ready
from outrider.sim.readings import is_of_drill, on_steps, rejection, served_by, shares_of, takers
from outrider.sim.truth import NEVER, PodTruth, Truth
from outrider.sim.wish import ANY

MOMENT = 5.0
"""Seconds that Kubernetes' own controllers may take to see a pod fail, before they could know better."""
MEDDLING_LASTS = 120.0
"""Seconds in which a hand laid on the operator's objects explains that pods go."""
LONGEST_HINDERED = 600.0
"""Seconds for which a hand laid on something explains what comes of it, where the operator can do nothing meanwhile."""
TAKES_NO_TRAFFIC = "a drill never takes traffic"
KNOWN_READY = 10.0
"""A pod that is ready for so many seconds is one that endpoints must have."""


Broken = Iterator[tuple[str, str]]
"""(promise, how it is broken)"""


@dataclass(frozen=True)
class Violation:
    promise: str
    """Which one: the same for the same fault, so that a shorter scenario can be seen to show it, too."""
    at: float
    message: str


class Promises:
    """`broken` are those that were broken so far, in order."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.writer = ""
        """Whose change it is: the name of an operator, or empty for all others."""
        self.broken: list[Violation] = []
        self._sequences: dict[tuple[str, int], str] = {}
        self._checks = {
            POD.plural: self._pod,
            ENDPOINT_SLICE.plural: self._endpoints,
            DEPLOYMENT.plural: self._workload,
            SERVICE.plural: self._service,
            HTTP_ROUTE.plural: self._route,
            MODEL_REVISION.plural: self._revision,
            LLM_DEPLOYMENT.plural: self._status,
        }

    def check(self, kind: Kind[Any], change: Change, obj: Object) -> None:
        """To be called before `Truth.follow` is."""
        check = self._checks.get(kind.plural)
        if check is None:
            return
        now = asyncio.get_running_loop().time()
        for promise, message in check(change, obj, now):
            self.broken.append(Violation(promise, now, message))

    # Availability

    def _pod(self, change: Change, obj: Object, now: float) -> Broken:
        meta = obj["metadata"]
        name = (meta.get("labels") or {}).get(labels.DEPLOYMENT, "")
        known = self.truth.pods.get(meta["uid"])
        if is_of_drill(obj) and not change.removed and ready(obj):
            yield TAKES_NO_TRAFFIC, f"{meta['name']}, the pod of a drill, is ready to serve"
        if not name:
            return
        if known is None:
            if not change.removed:
                yield from self._one_more(name, now)
            return
        was_ready = known.ready_since is not None and not known.ending
        going = change.removed or bool(meta.get("deletionTimestamp"))
        if was_ready and going:
            yield from self._one_less(name, meta["name"], known, now)

    def _one_more(self, name: str, now: float) -> Broken:
        service, truth = self.truth.service(name), self.truth
        wishes = list(service.recent(now - truth.window))
        # While nobody could put right what a hand did, it goes on to explain what comes of it.
        corrected = max(service.disturbed_at, min(truth.hindered_until, service.disturbed_at + LONGEST_HINDERED))
        if not wishes or now - corrected < MEDDLING_LASTS:
            return
        most = max(wish.replicas for wish in wishes) + max(wish.surge for wish in wishes)
        # What was taken back goes once others answer, whatever people release meanwhile.
        most += sum(1 for pod in truth.pods_of(name) if pod.revision in service.taken_back and not pod.ending)
        pods = [pod for pod in truth.pods_of(name) if not pod.ending]
        if len(pods) + 1 > most:
            yield (
                "never more pods than replicas and surge",
                f"{name} gets its {len(pods) + 1}th pod, and never more than {most} were wanted",
            )

    def _one_less(self, name: str, pod: str, known: PodTruth, now: float) -> Broken:
        service, truth = self.truth.service(name), self.truth
        reasons = (truth.is_superseded, truth.is_passed_over, truth.is_beside, truth.gives_way)
        if any(explains(name, known) for explains in reasons):
            return
        wishes = list(service.recent(now - truth.window))
        disturbed = now - service.disturbed_at
        if not all(wish.exists for wish in wishes) or disturbed < MOMENT:
            return
        left = len(truth.ready_pods(name)) - 1
        least = min((wish.least for wish in wishes), default=0)
        if left < least:
            yield (
                "never fewer ready pods than asked for by anything but a fault",
                f"{pod} of {name} is ended while ready: {left} ready pods are left, and at least {least} were wanted",
            )

    def _endpoints(self, change: Change, obj: Object, now: float) -> Broken:
        meta = obj["metadata"]
        name = served_by(obj)
        drilled = [
            one for one in obj.get("endpoints") or () if one.get("targetRef", {}).get("uid") in self.truth.drilled
        ]
        if drilled and not change.removed:
            yield TAKES_NO_TRAFFIC, f"{drilled[0]['targetRef']['name']}, the pod of a drill, is in {meta['name']}"
        if not name or change.old is None:
            return
        service = self.truth.service(name)
        if not takers(decode(change.old.data)) or (not change.removed and takers(obj)):
            return
        others = sum(count for slice_name, count in service.slices.items() if slice_name != meta["name"])
        wishes = list(service.recent(now - self.truth.window))
        existed = all(wish.exists for wish in wishes)
        if any(wish.exists and not wish.replicas for wish in wishes):
            return  # no replica is wanted: a standby may be the last to go
        well = self._known_ready(name, now, but_standby=any(not wish.least for wish in wishes))
        if well and not others and existed and now - service.disturbed_at > MOMENT:
            yield (
                "never traffic to nothing while pods are ready",
                f"the last endpoint of {name} goes while {len(well)} of its pods have been ready for a while",
            )

    def look(self, now: float) -> None:
        """To be called now and again: what must not last."""
        for name, service in self.truth.services.items():
            wishes = list(service.recent(now - self.truth.window))
            late = max(service.disturbed_at, service.faulty_until, self.truth.hindered_until, service.aborted_at)
            wanted = bool(wishes) and all(wish.exists and wish.least for wish in wishes)
            able = self._known_ready(name, now, but_standby=False)
            if service.endpoints or not able or not wanted or now - late < self.truth.window:
                service.idle_since = None
                continue
            service.idle_since = now if service.idle_since is None else service.idle_since
            if now - service.idle_since > self.truth.window:
                lasts = f"for {now - service.idle_since:.0f} s {name} has had no endpoint"
                message = f"{lasts}, and {len(able)} of its pods are ready"
                self.broken.append(Violation("never traffic to nothing for long while pods are ready", now, message))

    def _known_ready(self, name: str, now: float, *, but_standby: bool) -> list[PodTruth]:
        """The pods that endpoints must have. `but_standby`: people want all that serves to end before anything else
        comes, which an old version that is still loaded does not change.
        """
        selected = self.truth.service(name).selected
        return [
            pod
            for pod in self.truth.ready_pods(name)
            if pod.ready_since is not None
            and now - pod.ready_since > KNOWN_READY
            and not (but_standby and selected and pod.revision != selected)
        ]

    # Where requests go

    def _service(self, change: Change, obj: Object, now: float) -> Broken:
        """Requests are sent to another revision: as many of its pods must be ready as were before, or as are wanted."""
        meta, found = obj["metadata"], obj.get("metadata", {}).get("labels") or {}
        name = found.get(labels.DEPLOYMENT, "")
        if change.removed or change.old is None or not self.writer or meta["name"] != service_name(name):
            return
        before, after = (_selector(one) for one in (decode(change.old.data), obj))
        service = self.truth.service(name)
        if before == after or now - service.disturbed_at < self.truth.window:
            return
        old, new = (self._selected(name, selector) for selector in (before, after))
        if before.get(labels.REVISION) in service.hardly_answers:
            old = min(old, 1)  # any that answers is better
        least = min((wish.least for wish in service.recent(now - self.truth.window)), default=0)
        if new < min(old, least):
            message = f"the Service of {name} selected {old} ready pods and now selects {new}, and {least} were wanted"
            yield "never all traffic to fewer pods than it needs", message

    def _selected(self, name: str, selector: dict[str, str]) -> int:
        revision = selector.get(labels.REVISION, "")
        if selector.get(labels.DEPLOYMENT) != name:
            return 0
        return sum(1 for pod in self.truth.ready_pods(name) if revision in ("", pod.revision))

    def _route(self, change: Change, obj: Object, now: float) -> Broken:
        """Requests are divided: no share goes to a revision of which nothing is ready, and shares add up to 100."""
        name = (obj["metadata"].get("labels") or {}).get(labels.DEPLOYMENT, "")
        if change.removed or not self.writer or not name:
            return
        backends = obj["spec"]["rules"][0]["backendRefs"]
        if len(backends) == 1:
            return
        total = sum(one["weight"] for one in backends)
        if total != 100:
            yield "shares of the traffic add up to 100", f"those of {obj['metadata']['name']} add up to {total}"
        service = self.truth.service(name)
        if not all(wish.exists for wish in service.recent(now - self.truth.window)):
            return  # its pods went with it
        shares = shares_of(obj)
        for revision, weight in shares.items():
            able = sum(1 for pod in self.truth.ready_pods(name) if pod.revision == revision)
            if weight and not able and now - service.disturbed_at > self.truth.window:
                message = f"{weight} % of the requests to {name} go to revision {revision}, of which no pod is ready"
                yield "never a share of the traffic to nothing", message
        if service.release is not None:
            yield from self._share(name, service.release, shares, now)

    # What is released

    def _workload(self, change: Change, obj: Object, now: float) -> Broken:
        if change.removed or not self.writer or is_of_drill(obj):
            return
        name = (obj["metadata"].get("labels") or {}).get(labels.DEPLOYMENT, "")
        after = _template_version(obj)
        before = _template_version(decode(change.old.data)) if change.old is not None else ""
        if after == before or not after:
            return
        wishes = list(self.truth.service(name).recent(now - self.truth.window))
        asked = {wish.version for wish in wishes}
        known_for_long = bool(wishes) and wishes[0].since <= now - self.truth.window
        if not (known_for_long and all(wish.pinned for wish in wishes)):
            # Pins and specs come by different watches: a spec may be seen before the pin that it came with, or that was
            # there before it.
            asked |= {wish.spec_version for wish in wishes}
        service = self.truth.service(name)
        if after in service.answered and not asked.isdisjoint(service.taken_back.values()):
            return  # it takes the place of one that was taken back
        if service.release is not None and after == service.release["stableVersion"]:
            return  # what a release is compared with is made anew
        if ANY not in asked and after not in asked:
            only = ", ".join(sorted(asked)) or "nothing"
            message = (
                f"{self.writer} has {name} go from {before or 'nothing'} to {after}, and asked for was only {only}"
            )
            yield "never a version that nobody asked for", message

    def _revision(self, change: Change, obj: Object, now: float) -> Broken:
        spec, owner = obj["spec"], str(obj["metadata"]["ownerReferences"][0]["uid"])
        if not change.removed and change.old is not None:
            yield from self._taken_back(change, obj, now)
        if change.removed or change.old is not None:  # that it never changes the server sees to
            return
        key = owner, int(spec.get("sequence", 0))
        other = self._sequences.setdefault(key, obj["metadata"]["name"])
        if other != obj["metadata"]["name"]:
            yield (
                "revisions are numbered without repetition",
                f"{obj['metadata']['name']} and {other} are both number {key[1]}",
            )

    def _taken_back(self, change: Change, obj: Object, now: float) -> Broken:
        """A version is taken back: it must have failed, as far as anybody could tell."""
        found, before = rejection(obj), rejection(decode(change.old.data)) if change.old is not None else None
        if found is None or (before is not None and before["time"] == found["time"]):
            return
        version, name = str(obj["spec"]["version"]), str(obj["spec"]["deployment"])
        service = self.truth.service(name)
        if found["reason"] == ABORTED and service.aborted_at > NEVER:
            return
        patience = service.spec.workload_deadline_seconds if service.spec is not None else 0
        if found["reason"] == PROGRESS_DEADLINE_EXCEEDED and self.truth.longest_load >= patience:
            return
        cooldown = service.spec.rollback.auto_rollback.cooldown.seconds if service.spec is not None else 0.0
        if abs(now - service.taken_back_at - cooldown) < self.truth.window:
            return  # it was held until this moment, for what it did meanwhile
        failed = service.blamed.get(version)
        if failed is None or now - failed > self.truth.window:
            why = f"{found['reason']}: {found['message']}"
            yield (
                "never a version taken back that did not fail",
                f"{version} of {name} is taken back ({why}), and none of its pods failed",
            )

    # What is said

    def _status(self, change: Change, obj: Object, now: float) -> Broken:
        status = obj.get("status") or {}
        if change.removed or not self.writer:
            return
        yield from self._by_steps(obj, now)
        was_ready = change.old is not None and has_condition(decode(change.old.data), "Ready")
        if was_ready and not has_condition(obj, "Ready"):
            yield from self._alarm(obj, now)
        if was_ready or not has_condition(obj, "Ready"):
            return
        name, version = obj["metadata"]["name"], str(status.get("effectiveVersion"))
        service = self.truth.service(name)
        if self.truth.serves_in_full(name, version):
            return
        last = service.served.get(version)
        if last is None or now - last > self.truth.window:
            yield (
                "never Ready without every replica of the version",
                f"{name} is called Ready at {version}, which "
                + ("has never served in full" if last is None else f"last served in full {now - last:.0f} s ago"),
            )

    def _by_steps(self, obj: Object, now: float) -> Broken:
        """A release on its steps: it is not over, and takes no more than its share from what can answer."""
        name, release = obj["metadata"]["name"], on_steps(obj.get("status") or {})
        if release is None:
            return
        if has_condition(obj, "Ready"):
            yield (
                "never Ready in the middle of a release by steps",
                f"{name} is called Ready while {release['version']} is at step {release.get('step', 0) + 1}",
            )
        yield from self._share(name, release, self.truth.service(name).shares, now)

    def _share(self, name: str, release: Object, shares: dict[str, int], now: float) -> Broken:
        service, truth = self.truth.service(name), self.truth
        late = max(service.disturbed_at, service.faulty_until, truth.hindered_until)
        wishes = list(service.recent(now - truth.window))
        stable = [pod for pod in truth.ready_pods(name) if pod.revision == release["stableRevision"]]
        able = sum(1 for pod in stable if pod.ready_since is not None and now - pod.ready_since > truth.window)
        if now - late <= truth.window or not all(0 < wish.replicas <= able for wish in wishes):
            return
        share = release["steps"][release.get("step", 0)].get("weight", 0)
        taken = shares.get(release["revision"], 0)
        answers = any(pod.revision == release["revision"] for pod in truth.ready_pods(name))
        by_number = not service.selected and (not answers or (share and not truth.routed))
        if not by_number and (service.selected != release["stableRevision"] or taken > share):
            goes = f"{taken} %" if service.selected == release["stableRevision"] else "all"
            one = f"{release['version']}, whose step has {share} %"
            message = f"{goes} of the requests to {name} may go to {one}, while {able} pods of the other are ready"
            yield "never more of the traffic than its step says", message

    def _alarm(self, obj: Object, now: float) -> Broken:
        """Somebody is woken up: there must be something."""
        name, truth = obj["metadata"]["name"], self.truth
        service = truth.service(name)
        wished = service.wishes[-1].since if service.wishes else now
        asked = max(wished, service.aborted_at, service.retried_at)
        quiet_since = max(service.disturbed_at, service.faulty_until, asked)
        if now - quiet_since > truth.window:
            found = next(one for one in obj["status"]["conditions"] if one["type"] == "Ready")
            called = f"{name} is called {found['reason']} ({found['message']})"
            message = f"{called}, and for {now - quiet_since:.0f} s nobody changed it and none of its pods failed"
            yield "never an alarm about nothing", message


def _selector(obj: Object) -> dict[str, str]:
    found: dict[str, str] = obj["spec"].get("selector") or {}
    return found


def _template_version(obj: Object) -> str:
    template = obj.get("spec", {}).get("template", {})
    return str((template.get("metadata", {}).get("labels") or {}).get(labels.MODEL_VERSION, ""))
