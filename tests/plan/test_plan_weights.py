"""Whether the weights of a version lie where its pods look for them: `Cached` is told from `Cold`, or why it is not."""

from typing import Any

import msgspec
import pytest
from drill_world import DrillWorld, ask, drill, released, turns

from outrider.api.modelrevision import LoadStatus
from outrider.api.parse import parse_spec
from outrider.plan.deployment.revision import revision_spec
from outrider.plan.deployment.weights import Store, store

HUB = "hf://meta-llama/Llama-3.1-8B-Instruct"
CLAIM = {"name": "models", "persistentVolumeClaim": {"claimName": "models"}}
FOLDER = {"name": "models", "hostPath": {"path": "/var/models"}}


def mounted(volume: dict[str, Any], path: str = "/model-cache", **mount: Any) -> dict[str, Any]:
    return {"volumes": [volume], "volumeMounts": [{"name": volume["name"], "mountPath": path, **mount}]}


def environment(**variables: Any) -> dict[str, Any]:
    return {"runtime": {"env": [{"name": name, "value": value} for name, value in variables.items()]}}


STORES: dict[str, tuple[str, dict[str, Any], Store]] = {
    "nothing is mounted: the cache is an emptyDir": (
        HUB,
        {},
        Store(why_not="its weights go with the pod (an emptyDir holds them)"),
    ),
    "a claim is mounted where the cache is": (HUB, mounted(CLAIM), Store("claim models")),
    "a claim is mounted above the hub's own folder": (
        HUB,
        mounted(CLAIM, "/model-cache/huggingface"),
        Store("claim models"),
    ),
    "a claim is mounted beside the cache": (
        HUB,
        mounted(CLAIM, "/model-cache-2"),
        Store(why_not="its weights go with the pod (an emptyDir holds them)"),
    ),
    "a part of a claim": (HUB, mounted(CLAIM, subPath="llama"), Store("claim models (llama)")),
    "a part of a claim for each pod": (
        HUB,
        mounted(CLAIM, subPathExpr="$(POD_NAME)"),
        Store(why_not="each pod has a folder of its own in the volume (subPathExpr)"),
    ),
    "a folder of the node": (HUB, mounted(FOLDER), Store("folder /var/models", of_node=True)),
    "a volume of a kind that nobody knows": (
        HUB,
        mounted({"name": "models", "csi": {"driver": "x"}}),
        Store(why_not="nobody can tell what volume models keeps"),
    ),
    "the cache of root, as in examples for docker": (
        HUB,
        mounted(CLAIM, "/root/.cache/huggingface"),
        Store("claim models"),
    ),
    "a cache that a variable leads to": (
        HUB,
        {**mounted(CLAIM, "/data"), **environment(HF_HUB_CACHE="/data/hub")},
        Store("claim models"),
    ),
    "a home that a variable leads to, away from the volume": (
        HUB,
        {**mounted(CLAIM), **environment(HF_HOME="/elsewhere")},
        Store(why_not="its weights go with the pod (no volume is mounted for them)"),
    ),
    "a model in a claim": ("pvc://weights/llama", {}, Store("claim weights")),
    "a file on a claim": ("file:///models/llama", mounted(CLAIM, "/models"), Store("claim models")),
    "a file of the image": (
        "file:///models/llama",
        {},
        Store(why_not="its weights go with the pod (no volume is mounted for them)"),
    ),
    "an object store": (
        "s3://bucket/llama",
        mounted(CLAIM),
        Store(why_not="its weights are streamed from the object store each time"),
    ),
    "an artifact": ("oci://registry/llama", {}, Store(why_not="what the node keeps of an image cannot be seen")),
}


@pytest.mark.parametrize(("uri", "more", "wanted"), STORES.values(), ids=STORES.keys())
def test_where_the_weights_stay(uri: str, more: dict[str, Any], wanted: Store) -> None:
    body = {"model": {"modelUri": uri, "version": "v1.0.0"}, **more}
    parsed = parse_spec(msgspec.json.encode(body), name="llama", namespace="production", annotations={}, labels={})
    assert parsed.spec is not None, parsed.errors
    assert store(parsed.spec, revision_spec("llama", parsed.spec, "engine:1")) == wanted


def test_a_variable_from_elsewhere_hides_where_the_cache_is() -> None:
    secret = {"name": "HF_HOME", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}
    body = {"model": {"modelUri": HUB, "version": "v1.0.0"}, "runtime": {"env": [secret]}, **mounted(CLAIM)}
    parsed = parse_spec(msgspec.json.encode(body), name="llama", namespace="production", annotations={}, labels={})
    assert parsed.spec is not None, parsed.errors
    assert not store(parsed.spec, revision_spec("llama", parsed.spec, "engine:1")).name


def readiness(made: DrillWorld) -> tuple[str | None, str]:
    return made.status.rollback.readiness, made.status.rollback.message


def test_what_has_served_from_a_claim_is_cached() -> None:
    made = released(**mounted(CLAIM))
    found, message = readiness(made)
    assert found == "Cached"
    assert "a pod of it has loaded from claim models" in message
    assert (made.condition("RollbackReady").status, made.condition("RollbackReady").reason) == ("True", "Cached")
    load = made.revision("v1.0.0").status.load
    assert load is not None
    assert (load.store, load.nodes, load.measured_by) == ("claim models", (), "Service")


def test_what_served_before_the_claim_was_mounted_is_cold_until_it_was_drilled() -> None:
    made = released()
    made.edit(mounted(CLAIM))
    turns(made, 400, rounds=60)
    assert readiness(made)[0] == "Cold"
    assert "no pod of it was seen to load from claim models" in readiness(made)[1]
    ask(made)
    turns(made, 10)
    assert drill(made).outcome == "Passed"
    assert readiness(made)[0] == "Cached"
    assert "in the drill of" in readiness(made)[1]


def test_a_folder_of_the_nodes_counts_only_where_every_node_has_it() -> None:
    made = released(nodes=1, **mounted(FOLDER))
    assert readiness(made)[0] == "Cached"
    assert "on every node that could take them" in readiness(made)[1]
    made.nodes.append(made.node("node-new", 8))
    made.reconcile()
    assert readiness(made)[0] == "Cold"
    assert "no pod of it has loaded from folder /var/models on node-new" in readiness(made)[1]
    made.nodes[-1]["spec"]["unschedulable"] = True
    made.reconcile()
    assert readiness(made)[0] == "Cached", "what takes no pods needs no weights"
    made.nodes_seen = False
    made.reconcile()
    assert readiness(made)[0] == "Cold"
    assert "the nodes cannot be read" in readiness(made)[1]


def test_a_drill_adds_its_node_to_those_that_have_the_weights() -> None:
    made = released(**mounted(FOLDER))
    made.nodes.append(made.node("node-new", 8))
    made.nodes[0]["spec"]["unschedulable"] = True
    turns(made, 5)
    assert readiness(made)[0] == "Cold"
    ask(made)
    turns(made, 10)
    load = made.revision("v1.0.0").status.load
    assert load is not None
    assert load.nodes == ("node-0", "node-new")
    assert readiness(made)[0] == "Cached"


def test_what_is_measured_is_written_once() -> None:
    made = released(**mounted(FOLDER))
    load = made.revision("v2.0.0").status.load
    assert isinstance(load, LoadStatus)
    made.pods[0]["metadata"]["deletionTimestamp"] = "2023-11-14T22:13:20Z"
    turns(made, 10)
    assert made.revision("v2.0.0").status.load == load
    assert made.status.ready == "2/2"


def test_what_failed_its_drill_is_not_called_cached_until_it_has_served_again() -> None:
    made = released(**mounted(CLAIM))
    made.crashing.add("v1.0.0")
    ask(made)
    turns(made, 10)
    assert drill(made).outcome == "Failed"
    assert readiness(made)[0] == "Cold"
    assert made.status.rollback.estimated_seconds is None
    made.crashing.clear()
    made.set_pin(version="v1.0.0", revision=made.revision("v1.0.0").spec.hash)
    turns(made, 200)
    made.unpin()
    turns(made, 200)
    assert made.status.serving_version == "v2.0.0"
    assert readiness(made)[0] == "Cached"
