"""Who is measured by `bench/kubernetes.py`: our operator, and Argo Rollouts beside it in the same run."""

import sys
from pathlib import Path
from typing import Any, Protocol

import yaml

from outrider.kube.api import Api, Kind
from outrider.kube.objects import DEPLOYMENT, SERVICE
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.plan.install.manifests import crds

NAMESPACE = "bench"
ROLLOUT: Kind[Any] = Kind("argoproj.io", "v1alpha1", "Rollout", "rollouts", True, dict)
LIFTED = ("--qps=1000", "--burst=2000")
"""Its client's limits, by default 40 and 80, would be what is measured: it is three times slower with them."""


Written = tuple[Kind[Any], dict[str, Any]]


class Contender(Protocol):
    """A controller and its kind of objects."""

    name: str

    def definitions(self) -> list[dict[str, Any]]:
        """Its CRDs."""
        ...

    def command(self, kubeconfig: Path) -> list[str]:
        """What runs it."""
        ...

    def written(self, number: int, version: str) -> list[Written]:
        """What people write for a service with 0 replicas."""
        ...

    async def all_current(self, api: Api, count: int, version: str) -> bool:
        """Whether every object's status is of what is wanted now."""
        ...


class Outrider:
    """Our operator."""

    name = "Outrider"

    def definitions(self) -> list[dict[str, Any]]:
        return crds()

    def command(self, kubeconfig: Path) -> list[str]:
        return [sys.executable, str(Path(__file__).parents[1] / "kubernetes.py"), "--operator", str(kubeconfig)]

    def written(self, number: int, version: str) -> list[Written]:
        manifest = {
            "apiVersion": LLM_DEPLOYMENT.api_version,
            "kind": LLM_DEPLOYMENT.kind,
            "metadata": {"name": f"model-{number:04}", "namespace": NAMESPACE},
            "spec": {
                "model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": version},
                "replicas": 0,
                "resources": {"limits": {"nvidia.com/gpu": 1}},
            },
        }
        return [(LLM_DEPLOYMENT, manifest)]

    async def all_current(self, api: Api, count: int, version: str) -> bool:
        models = (await api.list(LLM_DEPLOYMENT, NAMESPACE)).items
        deployments = (await api.list(DEPLOYMENT, NAMESPACE)).items
        return (
            len(models) == len(deployments) == count
            and all(one.status.observed_generation == one.metadata.generation for one in models)
            and all(one.status.effective_version == version for one in models)
            and all(one.status.observed_generation == one.metadata.generation for one in deployments)
        )


class ArgoRollouts:
    """Argo Rollouts, from a checkout of its source in which `go build ./cmd/rollouts-controller` was run."""

    name = "Argo Rollouts"

    def __init__(self, checkout: Path, *, services: bool) -> None:
        """With `services`, people write a Service beside each Rollout, without which it takes no requests."""
        self._checkout = checkout
        self._services = services
        self._program = checkout / "rollouts-controller"
        if not self._program.is_file():
            sys.exit(f"{self._program} is missing: run `go build ./cmd/rollouts-controller` in {checkout}")

    def definitions(self) -> list[dict[str, Any]]:
        files = sorted((self._checkout / "manifests" / "crds").glob("*-crd.yaml"))
        return [one for file in files for one in yaml.safe_load_all(file.read_text())]

    def command(self, kubeconfig: Path) -> list[str]:
        ports = ("--healthzPort=18080", "--metricsPort=18090")
        return [
            str(self._program),
            f"--kubeconfig={kubeconfig}",
            f"--namespace={NAMESPACE}",
            "--leader-elect=false",
            *LIFTED,
            *ports,
        ]

    def written(self, number: int, version: str) -> list[Written]:
        name = f"model-{number:04}"
        template = {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": f"example.com/model:{version}"}]},
        }
        rollout = {
            "apiVersion": ROLLOUT.api_version,
            "kind": ROLLOUT.kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": name}},
                "strategy": {"canary": {}},
                "template": template,
            },
        }
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": rollout["metadata"],
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 8080}]},
        }
        return [(ROLLOUT, rollout), *([(SERVICE.into(dict), service)] if self._services else [])]

    async def all_current(self, api: Api, count: int, version: str) -> bool:
        rollouts = (await api.list(ROLLOUT, NAMESPACE)).items
        return len(rollouts) == count and all(
            one.get("status", {}).get("observedGeneration") == str(one["metadata"]["generation"])
            and one["status"].get("phase") == "Healthy"
            and one["spec"]["template"]["spec"]["containers"][0]["image"].endswith(version)
            for one in rollouts
        )
