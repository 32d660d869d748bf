"""The operator as a process of its own, as a cluster runs it: `outrider operator`."""

from outrider.controllers.process.process import OperatorProcess
from outrider.controllers.process.settings import Address, LeaderElectionSettings, ProcessSettings
from outrider.controllers.process.startup import StartupFailed

__all__ = ["Address", "LeaderElectionSettings", "OperatorProcess", "ProcessSettings", "StartupFailed"]
