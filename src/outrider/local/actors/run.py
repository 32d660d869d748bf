"""All actors, in one manager, on one set of informers."""

from prometheus_client import CollectorRegistry

from outrider.kube.api import Api
from outrider.kube.clock import Clock
from outrider.kube.events import EventRecorder
from outrider.kube.manager import Manager
from outrider.kube.metrics import RuntimeMetrics
from outrider.local.actors.deployments import Deployments
from outrider.local.actors.disruption import Disruption
from outrider.local.actors.endpoints import Endpoints
from outrider.local.actors.garbage_collector import GarbageCollector
from outrider.local.actors.namespaces import Namespaces
from outrider.local.actors.node_lifecycle import NodeLifecycle
from outrider.local.actors.replica_sets import ReplicaSets
from outrider.local.actors.scheduler import Scheduler
from outrider.local.actors.shared import ActorSettings, Shared

INSTANCE = "local-world"


async def run_actors(
    api: Api, clock: Clock, settings: ActorSettings | None = None, registry: CollectorRegistry | None = None
) -> None:
    """Run the controllers and the scheduler of the local world until cancelled.

    With a `registry` their metrics are registered there, under controller-runtime's names.
    """
    metrics = RuntimeMetrics(registry) if registry is not None else None
    await make_manager(api, clock, settings or ActorSettings(), metrics).run()


def make_manager(api: Api, clock: Clock, settings: ActorSettings, metrics: RuntimeMetrics | None = None) -> Manager:
    """The manager of all actors. Events name the component that Kubernetes has for each."""
    shared = Shared(api, clock, settings, metrics)
    recorders: list[EventRecorder] = []

    def events(component: str) -> EventRecorder:
        recorders.append(EventRecorder(api, clock, controller=component, instance=INSTANCE, metrics=metrics))
        return recorders[-1]

    actors = (
        Deployments(shared, events("deployment-controller")),
        ReplicaSets(shared, events("replicaset-controller")),
        Scheduler(shared, events("default-scheduler")),
        Endpoints(shared),
        GarbageCollector(shared),
        Disruption(shared, events("controllermanager")),
        NodeLifecycle(shared, events("node-controller")),
        Namespaces(shared),
    )
    return Manager(
        clock,
        controllers=[actor.controller() for actor in actors],
        informers=shared.informers,
        runnables=[recorder.run for recorder in recorders],
        metrics=metrics,
    )
