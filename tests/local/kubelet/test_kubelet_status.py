from typing import Any

from outrider.local.kubelet.runtime import RunExit
from outrider.local.kubelet.status import CONDITION_TYPES, ContainerView, PodView, changes, pod_phase, pod_status

FINE = RunExit(exit_code=0, reason="Completed", started_at=100, finished_at=200)
BAD = RunExit(exit_code=1, started_at=100, finished_at=200)
NOW = 1_000.0


def running(name: str = "main", **more: Any) -> ContainerView:
    values: dict[str, Any] = {
        "running_since": 100.0,
        "container_id": f"outrider://{name}",
        "started": True,
        "ready": True,
    }
    return ContainerView(name=name, **(values | more))


def ended(ending: RunExit = FINE, name: str = "main", **more: Any) -> ContainerView:
    return ContainerView(name=name, exit=ending, container_id=f"outrider://{name}", **more)


def waiting(reason: str = "ContainerCreating", **more: Any) -> ContainerView:
    return ContainerView(name="main", waiting=(reason, ""), **more)


def view(
    *main: ContainerView, init: tuple[ContainerView, ...] = (), status: dict[str, Any] | None = None, **more: Any
) -> PodView:
    spec = more.pop("spec", {})
    pod = {"metadata": {"name": "p", "uid": "u"}, "spec": spec, "status": status or {}}
    values: dict[str, Any] = {"address": "127.64.0.1", "host_address": "127.0.0.1", "start_time": 50.0}
    return PodView(pod=pod, init=init, main=main, **(values | more))


PHASES = {
    "nothing has begun": (view(waiting()), "Pending"),
    "an init container runs": (view(waiting(), init=(running("setup"),)), "Pending"),
    "one of two has not begun": (view(running(), waiting()), "Pending"),
    "all run": (view(running()), "Running"),
    "a crash loop is running": (view(waiting("CrashLoopBackOff", last_exit=BAD)), "Running"),
    "about to restart is running": (view(ended(BAD, will_restart=True)), "Running"),
    "one ended well, the other runs": (view(ended(), running("other")), "Running"),
    "all ended well": (view(ended(), ended(name="other")), "Succeeded"),
    "one ended badly": (view(ended(), ended(BAD, "other")), "Failed"),
    "an init container failed for good": (view(waiting(), init=(ended(BAD, "setup"),)), "Failed"),
    "an init container is tried again": (view(waiting(), init=(ended(BAD, "setup", will_restart=True),)), "Pending"),
    "a sidecar's end does not matter": (view(ended(), init=(ended(BAD, "proxy", restartable=True),)), "Succeeded"),
    "the pod as a whole failed": (view(running(), failure=("DeadlineExceeded", "")), "Failed"),
    "deleted before anything ran": (view(waiting(), deleted=True), "Failed"),
    "deleted after a clean end": (view(ended(), deleted=True), "Succeeded"),
}


def test_phases() -> None:
    for sentence, (pod, phase) in PHASES.items():
        assert pod_phase(pod) == phase, sentence


def conditions(pod: PodView, now: float = NOW) -> dict[str, tuple[str, str]]:
    return {entry["type"]: (entry["status"], entry.get("reason", "")) for entry in pod_status(pod, now)["conditions"]}


CONDITIONS = {
    "ready": (view(running()), {"Ready": ("True", ""), "ContainersReady": ("True", ""), "Initialized": ("True", "")}),
    "no address yet": (view(waiting(), address=""), {"PodReadyToStartContainers": ("False", "")}),
    "not ready": (view(running(ready=False)), {"Ready": ("False", "ContainersNotReady")}),
    "an unready sidecar makes the pod unready": (
        view(running(), init=(running("proxy", ready=False, restartable=True),)),
        {"Ready": ("False", "ContainersNotReady")},
    ),
    "init containers to come": (
        view(waiting(), init=(running("setup"),)),
        {"Initialized": ("False", "ContainersNotInitialized")},
    ),
    "completed": (view(ended()), {"Ready": ("False", "PodCompleted"), "Initialized": ("True", "PodCompleted")}),
    "failed": (view(ended(BAD)), {"Ready": ("False", "PodFailed"), "PodReadyToStartContainers": ("False", "")}),
    "a readiness gate that nobody has opened": (
        view(running(), spec={"readinessGates": [{"conditionType": "example.com/go"}]}),
        {"Ready": ("False", "ReadinessGatesNotReady"), "ContainersReady": ("True", "")},
    ),
    "a readiness gate that is open": (
        view(
            running(),
            spec={"readinessGates": [{"conditionType": "example.com/go"}]},
            status={"conditions": [{"type": "example.com/go", "status": "True"}]},
        ),
        {"Ready": ("True", ""), "example.com/go": ("True", "")},
    ),
}


def test_conditions() -> None:
    for sentence, (pod, expected) in CONDITIONS.items():
        found = conditions(pod)
        assert {kind: found[kind] for kind in expected} == expected, sentence
        assert tuple(found)[: len(CONDITION_TYPES)] == CONDITION_TYPES, sentence


def test_a_condition_keeps_its_transition_time_until_its_status_changes() -> None:
    first = pod_status(view(running()), 1_000)
    second = pod_status(view(running(), status=first), 2_000)
    assert second["conditions"] == first["conditions"]
    assert changes(second, first) == {}
    third = pod_status(view(running(ready=False), status=second), 3_000)
    times = {entry["type"]: entry["lastTransitionTime"] for entry in third["conditions"]}
    assert times["Ready"] == times["ContainersReady"] == "1970-01-01T00:50:00Z"
    assert times["Initialized"] == times["PodScheduled"] == "1970-01-01T00:16:40Z"


def test_nulls_that_the_api_server_adds_are_no_change() -> None:
    status = pod_status(view(running()), NOW)
    stored = status | {"conditions": [entry | {"lastProbeTime": None} for entry in status["conditions"]]}
    assert changes(status, stored) == {}


STATES = {
    "running": (running(), {"running": {"startedAt": "1970-01-01T00:01:40Z"}}),
    "not begun": (ContainerView(name="main"), {"waiting": {"reason": "ContainerCreating"}}),
    "waiting, with a message": (
        ContainerView(name="main", waiting=("ErrImagePull", "no such image")),
        {"waiting": {"reason": "ErrImagePull", "message": "no such image"}},
    ),
    "killed": (
        ended(RunExit(exit_code=137, signal=9, started_at=100, finished_at=200)),
        {
            "terminated": {
                "exitCode": 137,
                "signal": 9,
                "reason": "Error",
                "startedAt": "1970-01-01T00:01:40Z",
                "finishedAt": "1970-01-01T00:03:20Z",
                "containerID": "outrider://main",
            }
        },
    ),
    "ended with its node, in Kubernetes' words": (
        ended(RunExit(exit_code=0, reason="Stopped", started_at=100, finished_at=200)),
        {
            "terminated": {
                "exitCode": 0,
                "reason": "NodeShutdown",
                "startedAt": "1970-01-01T00:01:40Z",
                "finishedAt": "1970-01-01T00:03:20Z",
                "containerID": "outrider://main",
            }
        },
    ),
}


def test_container_states() -> None:
    for sentence, (container, expected) in STATES.items():
        assert pod_status(view(container), NOW)["containerStatuses"][0]["state"] == expected, sentence
