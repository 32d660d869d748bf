"""The little of Kubernetes' control plane that the local world needs: controllers and a scheduler, each on its own."""

from outrider.local.actors.run import run_actors
from outrider.local.actors.shared import ActorSettings

__all__ = ["ActorSettings", "run_actors"]
