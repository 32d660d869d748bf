"""What users see through a gateway while everything behind it changes: the same stories for our own and for Traefik.

Where the two differ, and why: docs/guide/gateways.md.
"""

import json
import os
import signal
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from client_traffic import OpenAiTraffic, raw_traffic
from front_doors import FrontDoor, own_gateway, traefik_gateway
from story_world import ROOT, LocalWorld, ended, wait_for

from outrider.cli.demo.traffic import Tally

pytestmark = [pytest.mark.e2e, pytest.mark.long(minutes=5), pytest.mark.kubernetes]

MANIFEST = (ROOT / "examples" / "llama-3.1-8b.yaml").read_text()
NAME, SERVICE = "llama-3.1-8b", "llama-3-1-8b"
MODEL = "Llama-3.1-8B-Instruct"
HEADERS = {"Host": f"{SERVICE}.production"}
OPENED = {"own": own_gateway, "traefik": traefik_gateway}
THOUGHT = """
apiVersion: v1
kind: ConfigMap
metadata: {name: outrider-simulator, namespace: production}
data:
  default: "extra-latency-ms: 200"
"""
"""Answers begin when a model has thought. Go's reverse proxy, and so Traefik, breaks off an answer that begins before
it has seen the end of the request: up to 6 of 1,000 that began within a few milliseconds, on a machine short of cores.
"""
STATEFUL = (
    "llmdeployments,modelrevisions,deployments,replicasets,pods,services,endpointslices,poddisruptionbudgets,"
    "httproutes,gateways,gatewayclasses"
)
IN_A_ROW = 40
"""Answers from one side: with any weight left, so many in a row would not all come from the other."""


@pytest.fixture(scope="module", params=OPENED)
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    """A world behind one of the gateways, with a model that serves."""
    world = LocalWorld(tmp_path_factory.mktemp("gateways") / "home", "kubernetes")
    with ended(world), OPENED[request.param](world) as opened:
        world.outrider("kubectl", "apply", "--filename", "-", stdin=THOUGHT)
        world.outrider("apply", "--filename", "-", "--wait", stdin=MANIFEST)
        wait_for(lambda: ask(opened, HEADERS)[0] == 200, "the gateway knows the route")
        yield opened


def ask(door: FrontDoor, headers: dict[str, str]) -> tuple[int, str]:
    """One small request: the code, and the model that answered."""
    body = json.dumps({"prompt": "hi", "max_tokens": 1}).encode()
    request = urllib.request.Request(
        f"{door.url}/v1/completions", data=body, headers={"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)["model"]
    except urllib.error.HTTPError as error:
        return error.code, ""


@contextmanager
def users(door: FrontDoor) -> Iterator[Tally]:
    """The traffic of both clients; at its end nothing has failed and no stream was broken."""
    before = door.counted().get(name_in_metrics(door), Counter())
    with (
        OpenAiTraffic(door.url, MODEL, HEADERS) as official,
        raw_traffic(door.url, MODEL, HEADERS, per_second=10) as tally,
    ):
        wait_for(lambda: tally.requests > 20, "traffic")
        yield tally
        more = tally.requests + 20
        wait_for(lambda: tally.requests > more, "traffic afterwards")
    assert tally.failures == {}
    assert tally.broken_streams == 0
    assert official.failures == []
    seen = door.counted()[name_in_metrics(door)] - before
    # The official client hangs up after the last event of a stream: that is 499 here, and not counted by Traefik.
    assert set(seen) <= {"200", "499"}, "the front door saw no failure either"
    assert tally.requests <= seen["200"] <= tally.requests + official.sent


def name_in_metrics(door: FrontDoor) -> str:
    return NAME if door.name == "own" else SERVICE


def pods(world: LocalWorld) -> dict[str, int]:
    """The restarts of every pod of the model, by uid."""
    listed = world.outrider(
        *("kubectl", "get", "pods", "--namespace", "production", "--output", "json"),
        *("--selector", f"inference.llm-d.io/deployment={NAME}"),
    )
    return {
        each["metadata"]["uid"]: sum(status["restartCount"] for status in each["status"].get("containerStatuses", []))
        for each in json.loads(listed.out)["items"]
    }


def test_the_gateway_says_that_it_serves_our_route(door: FrontDoor) -> None:
    listed = door.world.outrider("kubectl", "get", "gateway", "--all-namespaces", "--no-headers").out
    programmed = {"/".join(line.split()[:2]): line.split()[4] for line in listed.splitlines() if len(line.split()) > 5}
    assert programmed[door.parent] == "True"
    route = door.world.json("get", "httproute", SERVICE, "--namespace", "production")
    [parent] = route["status"]["parents"]
    conditions = {each["type"]: (each["status"], each["observedGeneration"]) for each in parent["conditions"]}
    current = route["metadata"]["generation"]
    assert conditions == {"Accepted": ("True", current), "ResolvedRefs": ("True", current)}


def test_a_release_and_a_rollback_lose_no_request_and_break_no_stream(door: FrontDoor) -> None:
    with users(door) as tally:
        released = MANIFEST.replace("v1.2.0", "v1.3.0")
        door.world.outrider("apply", "--filename", "-", "--wait", stdin=released)
        before = tally.requests
        wait_for(lambda: tally.requests > before + 20, "traffic on the new version")
        door.world.outrider("rollback", NAME, "--namespace", "production", "--reason", "a drill")
    assert door.world.get(NAME)["status"]["servingVersion"] == "v1.2.0"


def test_a_rolling_restart_loses_no_request_thanks_to_the_drain_delay(door: FrontDoor) -> None:
    """Traefik looks at changes every two seconds: until then it sends to pods that have been told to end."""
    before = pods(door.world)
    with users(door):
        workload = (f"deployment/{NAME}", "--namespace", "production")
        door.world.outrider("kubectl", "rollout", "restart", *workload)
        door.world.outrider("kubectl", "rollout", "status", *workload, "--timeout=110s")
        wait_for(lambda: not before.keys() & pods(door.world).keys(), "every old pod has ended")


def split(door: FrontDoor, blue: int, green: int) -> str:
    namespace, name = door.parent.split("/")
    route: dict[str, Any] = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "split", "namespace": "production"},
        "spec": {
            "parentRefs": [{"name": name, "namespace": namespace}],
            "hostnames": ["split.example.com"],
            "rules": [
                {
                    "backendRefs": [
                        {"name": "blue", "port": 8080, "weight": blue},
                        {"name": "green", "port": 8080, "weight": green},
                    ]
                }
            ],
        },
    }
    return json.dumps(route)


def test_weights_that_change_often_lose_no_request_and_the_last_one_holds(door: FrontDoor) -> None:
    world, headers = door.world, {"Host": "split.example.com"}
    for colour in ("blue", "green"):
        named = MANIFEST.replace(NAME, colour).replace("    version:", f"    name: {colour}\n    version:")
        world.outrider("apply", "--filename", "-", "--wait", stdin=named)
    world.outrider("kubectl", "apply", "--filename", "-", stdin=split(door, 100, 0))
    wait_for(lambda: ask(door, headers) == (200, "blue"), "the route serves")
    with raw_traffic(door.url, "", headers, per_second=20, max_tokens=64) as tally:
        for blue in (50, 0, 90, 10, 100, 0, 50, 1, 99, 0, 100, 0):
            world.outrider("kubectl", "apply", "--filename", "-", stdin=split(door, blue, 100 - blue))
        wait_for(lambda: {ask(door, headers)[1] for _ in range(IN_A_ROW)} == {"green"}, "no request on the old backend")
        counted = door.counted()
        more = tally.requests + 40
        wait_for(lambda: tally.requests > more, "traffic after the last change")
        assert door.counted()["blue"] == counted["blue"], "nor any later"
        assert door.counted()["green"] != counted["green"]
    assert tally.failures == {}
    assert tally.broken_streams == 0


def kill(world: LocalWorld, program: str) -> None:
    """End a program of the control plane as a crash would, and wait until the control plane answers again."""
    [pid] = [pid for pid, command in world.processes() if f"/{program} " in command]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(each != pid for each, _ in world.processes()), f"{program} has ended")
    wait_for(lambda: world.outrider("kubectl", "get", "--raw", "/readyz", code=None).code == 0, "the API is back")


def versions(world: LocalWorld) -> dict[str, str]:
    """The resource version of everything but leases, events and nodes' heartbeats."""
    listed = world.outrider("kubectl", "get", STATEFUL, "--all-namespaces", "--output", "json", code=None)
    items = json.loads(listed.out)["items"] if listed.code == 0 else []
    return {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in items}


def lease(world: LocalWorld) -> str:
    """When the kubelet of a node last said that it lives: every ten seconds."""
    listed = world.outrider("kubectl", "get", "lease", "node-1", "--namespace", "kube-node-lease", "--output", "json")
    renewed: str = json.loads(listed.out)["spec"]["renewTime"]
    return renewed


def is_quiet(world: LocalWorld) -> bool:
    """Whether nothing is written from one renewal of a node's lease to the next but one."""
    before = versions(world)
    for _ in range(2):
        renewed = lease(world)
        wait_for(lambda renewed=renewed: lease(world) != renewed, "a renewal of the lease")  # type: ignore[misc]
    return bool(before) and versions(world) == before


def test_serving_goes_on_without_the_control_plane_which_comes_back_and_goes_quiet(door: FrontDoor) -> None:
    before = pods(door.world)
    with users(door):
        kill(door.world, "kube-apiserver")
        kill(door.world, "etcd")
        kill(door.world, "kube-apiserver")
    wait_for(lambda: is_quiet(door.world), "nothing is written any more", deadline=180)
    assert pods(door.world) == before, "the same pods, and none was started again"
    assert ask(door, HEADERS)[0] == 200
