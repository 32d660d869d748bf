"""The two gateways that the same stories are told about: the world's own, and Traefik."""

import os
import re
import runpy
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import traefik_in_world
from prometheus_client.parser import text_string_to_metric_families
from story_world import ROOT, LocalWorld, wait_for

GATEWAY_OBJECTS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: traefik}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: traefik, namespace: traefik}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: traefik}}
rules:
- {{apiGroups: [""], resources: [namespaces, services, secrets, configmaps, nodes], verbs: [get, list, watch]}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, watch]}}
- {{apiGroups: [gateway.networking.k8s.io], resources: ["*"], verbs: [get, list, watch]}}
- {{apiGroups: [gateway.networking.k8s.io], resources: ["*/status"], verbs: [update, patch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: traefik}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: traefik}}
subjects: [{{kind: ServiceAccount, name: traefik, namespace: traefik}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: traefik}}
spec: {{controllerName: traefik.io/gateway-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: traefik, namespace: traefik}}
spec:
  gatewayClassName: traefik
  listeners:
  - {{name: web, port: {traefik_in_world.WEB}, protocol: HTTP, allowedRoutes: {{namespaces: {{from: All}}}}}}
"""
_SERVICE = re.compile(r".*-svc-production-(.+)-\d+@kubernetesgateway")


@dataclass(frozen=True)
class FrontDoor:
    """A world whose operator writes routes for one of the gateways."""

    name: str
    world: LocalWorld
    url: str
    admin_url: str
    parent: str
    """`namespace/name` of its Gateway."""

    def counted(self) -> dict[str, Counter[str]]:
        """Requests that the gateway counted, per name of the deployment (ours) or Service (Traefik), by code."""
        path = "/-/metrics" if self.name == "own" else "/metrics"
        with urllib.request.urlopen(self.admin_url + path, timeout=30) as answer:
            text = answer.read().decode()
        found: dict[str, Counter[str]] = {}
        for sample in (each for family in text_string_to_metric_families(text) for each in family.samples):
            name = ""
            if sample.name == "outrider_gateway_requests_total":
                name = sample.labels["deployment"]
            elif sample.name == "traefik_service_requests_total":
                match = _SERVICE.fullmatch(sample.labels["service"])
                name = match[1] if match is not None else ""
            if name:
                found.setdefault(name, Counter())[sample.labels["code"]] += int(sample.value)
        return found


def traefik_or_skip() -> Path:
    """Traefik's program; without it the test is skipped, visibly, and in CI it fails."""
    program: Path = runpy.run_path(str(ROOT / "tools" / "traefik" / "install.py"))["program"]()
    if not program.is_file():
        message = "no Traefik on this machine: python3 tools/traefik/install.py"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return program


@contextmanager
def own_gateway(world: LocalWorld) -> Iterator[FrontDoor]:
    world.up()
    url = world.info.gateway_url
    yield FrontDoor("own", world, url, url, "outrider-system/outrider")


@contextmanager
def traefik_gateway(world: LocalWorld, *options: str) -> Iterator[FrontDoor]:
    """`options` are more of `outrider up`."""
    program = traefik_or_skip()
    plane = world.folder.control_plane
    argv = [sys.executable, traefik_in_world.__file__, str(plane), str(program), str(plane / "pki" / "cluster-ca.crt")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=world.env) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            web, admin = (f"http://127.0.0.1:{port}" for port in process.stdout.readline().split())
            world.up("--gateway", "traefik/traefik", "--base-url", web, *traefik_in_world.OPTIONS, *options)
            world.outrider("kubectl", "apply", "--filename", "-", stdin=GATEWAY_OBJECTS)
            token = world.outrider("kubectl", "create", "token", "traefik", "--namespace", "traefik").out
            process.stdin.write(token + "\n")
            process.stdin.flush()
            wait = ["--for=condition=Programmed", "gateway/traefik", "--namespace", "traefik", "--timeout=60s"]
            world.outrider("kubectl", "wait", *wait)
            yield FrontDoor("traefik", world, web, admin, "traefik/traefik")
        finally:
            process.kill()
            wait_for(lambda: process.poll() is not None, "Traefik's process has ended", deadline=20)
