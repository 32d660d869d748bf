"""Outrider's own kinds: defaults, pruning, validation by schema and CEL, status and scale."""

from typing import Any

from parity.steps import Corpus, From, apply, create, delete, get, listing, obj, patch, put, refused, watch

from outrider.kube.resources import LLM_DEPLOYMENT, MODEL_REVISION, VERSION_PIN


def model(name: str, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return obj(
        LLM_DEPLOYMENT,
        name,
        metadata,
        spec={"model": {"modelUri": "hf://meta-llama/Llama-3.1-8B-Instruct", "version": "v1.0.0"}, **spec},
    )


def _refused(**spec: Any) -> Any:
    return create(LLM_DEPLOYMENT, refused(model("refused", **spec)))


def _revision(**spec: Any) -> dict[str, Any]:
    return obj(
        MODEL_REVISION,
        "llama-abcdefghij",
        spec={
            "deployment": "llama",
            "sequence": 1,
            "hash": "abcdefghij",
            "modelUri": "hf://a/b",
            "version": "v1",
            "args": ["b", "a"],
            **spec,
        },
    )


def _condition(**more: Any) -> dict[str, Any]:
    return {
        "type": "Ready",
        "status": "True",
        "reason": "Serving",
        "message": "It serves.",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        **more,
    }


CUSTOM: Corpus = {
    "an LLMDeployment's defaults, and what is not known of it": [
        create(LLM_DEPLOYMENT, model("llama-3.1-8b")),
        create(
            LLM_DEPLOYMENT,
            model(
                "more",
                replicas=0,
                unknown={"deep": [1]},
                resources={"limits": {"nvidia.com/gpu": 1}, "requests": {"nvidia.com/gpu": "1"}},
            ),
        ),
        create(LLM_DEPLOYMENT, model("strict", unknown=1), fieldValidation="Strict"),
        create(LLM_DEPLOYMENT, model("odd") | {"unknown": "at the top"}),
        get(LLM_DEPLOYMENT, "llama-3.1-8b"),
    ],
    "an LLMDeployment is validated": [
        create(LLM_DEPLOYMENT, refused(obj(LLM_DEPLOYMENT, "refused"))),
        create(LLM_DEPLOYMENT, refused(obj(LLM_DEPLOYMENT, "refused", spec={}))),
        create(LLM_DEPLOYMENT, refused(obj(LLM_DEPLOYMENT, "refused", spec="text"))),
        _refused(model={}),
        _refused(model={"modelUri": "", "version": "v1"}),
        _refused(model={"modelUri": "hf://a/b", "version": 1.2}),
        _refused(replicas=-1),
        _refused(replicas="two"),
        _refused(replicas=1.5),
        _refused(autoscaling={"enabled": True, "minReplicas": 3, "maxReplicas": 2}),
        _refused(autoscaling={"enabled": "yes"}),
        _refused(deployment={"rolloutStrategy": "Sometimes"}),
        _refused(deployment={"stage": "nowhere"}),
        _refused(resources={"limits": {"nvidia.com/gpu": "many"}}),
        create(LLM_DEPLOYMENT, model("Bad_Name")),
    ],
    "an LLMDeployment is patched": [
        create(LLM_DEPLOYMENT, model("llama")),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"spec": {"model": {"version": "v1.1.0"}}}),
        patch(LLM_DEPLOYMENT, "json", "llama", [{"op": "replace", "path": "/spec/model/version", "value": "v1.2.0"}]),
        patch(LLM_DEPLOYMENT, "strategic", "llama", {"spec": {"model": {"version": "v1.3.0"}}}),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"metadata": {"labels": {"a": "b"}}}),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"spec": {"replicas": -1}}),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"status": {"phase": "x"}}),
        put(LLM_DEPLOYMENT, model("llama")),
        put(LLM_DEPLOYMENT, model("llama", {"resourceVersion": From(0, "metadata.resourceVersion")})),
        put(LLM_DEPLOYMENT, model("llama", {"resourceVersion": From(6, "metadata.resourceVersion")}, replicas=2)),
        get(LLM_DEPLOYMENT, "llama"),
    ],
    "an LLMDeployment's status": [
        create(LLM_DEPLOYMENT, model("llama") | {"status": {"replicas": 3}}),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"status": {"replicas": 2, "conditions": [_condition()]}}, "status"),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"status": {"conditions": [_condition(status="Perhaps")]}}, "status"),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"status": {"conditions": [_condition(), _condition()]}}, "status"),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"status": {"conditions": [{"type": "Ready"}]}}, "status"),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"spec": {"replicas": 7}, "status": {"replicas": 1}}, "status"),
        patch(
            LLM_DEPLOYMENT,
            "merge",
            "llama",
            {"metadata": {"resourceVersion": From(0, "metadata.resourceVersion")}, "status": {}},
            "status",
        ),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"status": {"unknownField": 1}}, "status"),
        get(LLM_DEPLOYMENT, "llama", "status"),
        get(LLM_DEPLOYMENT, "llama"),
    ],
    "an LLMDeployment's scale": [
        create(LLM_DEPLOYMENT, model("llama", replicas=2)),
        get(LLM_DEPLOYMENT, "llama", "scale"),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"spec": {"replicas": 3}}, "scale"),
        patch(LLM_DEPLOYMENT, "merge", "llama", {"spec": {"replicas": -3}}, "scale"),
        get(LLM_DEPLOYMENT, "llama"),
    ],
    "an LLMDeployment is applied by several": [
        apply(LLM_DEPLOYMENT, model("llama"), "git"),
        apply(LLM_DEPLOYMENT, obj(LLM_DEPLOYMENT, "llama", spec={"replicas": 3}), "autoscaler"),
        apply(LLM_DEPLOYMENT, obj(LLM_DEPLOYMENT, "llama", spec={"model": {"version": "v2"}}), "person"),
        apply(LLM_DEPLOYMENT, obj(LLM_DEPLOYMENT, "llama", spec={"model": {"version": "v2"}}), "person", force="true"),
        apply(LLM_DEPLOYMENT, model("llama"), "git"),
        apply(LLM_DEPLOYMENT, obj(LLM_DEPLOYMENT, "llama", spec={"replicas": "x"}), "autoscaler"),
        apply(
            LLM_DEPLOYMENT, obj(LLM_DEPLOYMENT, "llama", status={"conditions": [_condition()]}), "operator", "status"
        ),
    ],
    "a ModelRevision cannot be changed": [
        create(MODEL_REVISION, _revision()),
        patch(MODEL_REVISION, "merge", "llama-abcdefghij", {"spec": {"version": "v2"}}),
        patch(MODEL_REVISION, "merge", "llama-abcdefghij", {"metadata": {"labels": {"a": "b"}}}),
        patch(MODEL_REVISION, "merge", "llama-abcdefghij", {"status": {"state": "Serving"}}, "status"),
        patch(MODEL_REVISION, "merge", "llama-abcdefghij", {"status": {"state": "Nonsense"}}, "status"),
        delete(MODEL_REVISION, "llama-abcdefghij"),
    ],
    "a VersionPin": [
        create(VERSION_PIN, obj(VERSION_PIN, "llama", spec={"deployment": "llama", "version": "v1"})),
        create(VERSION_PIN, obj(VERSION_PIN, "other", spec={"deployment": "llama", "version": "v1"})),
        create(VERSION_PIN, obj(VERSION_PIN, "empty", spec={})),
        patch(
            VERSION_PIN,
            "merge",
            "llama",
            {"status": {"version": "v1", "conditions": [_condition(type="Resolved")]}},
            "status",
        ),
        patch(VERSION_PIN, "merge", "llama", {"spec": {"reason": "It was bad."}}),
        listing(VERSION_PIN),
    ],
    "LLMDeployments are listed and watched": [
        listing(LLM_DEPLOYMENT),
        create(LLM_DEPLOYMENT, model("a", {"labels": {"x": "y"}})),
        patch(LLM_DEPLOYMENT, "merge", "a", {"status": {"replicas": 1}}, "status"),
        listing(LLM_DEPLOYMENT, labelSelector="x=y"),
        listing(LLM_DEPLOYMENT, fieldSelector="metadata.name=a"),
        listing(LLM_DEPLOYMENT, fieldSelector="spec.replicas=1"),
        delete(LLM_DEPLOYMENT, "a"),
        watch(LLM_DEPLOYMENT, 3, resourceVersion=From(0, "metadata.resourceVersion")),
    ],
}
