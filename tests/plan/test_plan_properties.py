"""Whatever is written and in whatever order: plans are made, and they come to rest at what was asked for last."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from plan_world import LLAMA, PlanWorld, merged

from outrider.api.meta import find_condition

VERSIONS = st.sampled_from(
    ["v1.0.0", "v1.1.0", "v1.2.0", "v2.0.0-rc.1", "latest", "previous-stable", "previous-stable-tag"]
)
SPECS = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries(
            {
                "modelUri": st.sampled_from(
                    [
                        "hf://meta-llama/Llama-3.1-8B-Instruct",
                        "s3://models/llama",
                        "pvc://models/llama",
                        "oci://r.example/m:v1",
                    ]
                ),
                "version": VERSIONS,
            },
            optional={
                "quantization": st.fixed_dictionaries(
                    {"type": st.sampled_from(["auto", "fp8", "int8", "int4", "awq"])}
                ),
                "name": st.sampled_from(["llama", "x"]),
            },
        )
    },
    optional={
        "replicas": st.integers(-1, 5),
        "resources": st.fixed_dictionaries(
            {"requests": st.fixed_dictionaries({"nvidia.com/gpu": st.sampled_from(["0", "1", "2", "8"])})}
        ),
        "rollback": st.fixed_dictionaries(
            {"previousVersions": st.lists(st.sampled_from(["v0.9.0", "v0.8.0"]), max_size=2)}
        ),
        "deployment": st.fixed_dictionaries(
            {
                "rollingUpdate": st.sampled_from(
                    [{"maxSurge": 0, "maxUnavailable": 1}, {"maxSurge": "50%", "maxUnavailable": 0}]
                )
            }
        ),
        "unknownField": st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
        "security": st.fixed_dictionaries({"enabled": st.booleans()}),
    },
)


@settings(max_examples=60, deadline=None)
@given(SPECS)
def test_any_spec_is_planned_and_comes_to_rest(spec: dict[str, Any]) -> None:
    world = PlanWorld(merged(LLAMA, {"spec": {"replicas": None, "resources": None}}), gpus_per_node=64)
    world.manifest["spec"] = spec
    world.settle()
    made = world.plan()
    assert (made.status, made.actions) == (None, ())
    ready = find_condition(world.status.conditions, "Ready")
    assert ready is not None
    if world.snapshot().parsed.errors:
        assert ready.reason == "InvalidSpec"
        assert not world.pods
    elif world.status.phase == "Ready":
        assert {pod["metadata"]["labels"]["inference.llm-d.io/revision"] for pod in world.pods} == {
            world.status.effective_revision
        }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.dictionaries(st.sampled_from(["model", "version", "replicas", "x"]), inner, max_size=3),
        max_leaves=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_nonsense_is_reported_and_never_raises(spec: Any) -> None:
    world = PlanWorld()
    world.manifest["spec"] = spec if isinstance(spec, dict) else {"model": spec}
    made = world.plan()
    assert msgspec.json.encode(made), "a plan can be printed"


class Lives(RuleBasedStateMachine):
    """Edits, pins, crashes and time in any order; the cluster moves in between."""

    def __init__(self) -> None:
        super().__init__()
        self.world = PlanWorld(gpus_per_node=16)
        self.world.settle()
        self.ever_ready = True

    @rule(version=VERSIONS)
    def edit_the_version(self, version: str) -> None:
        self.world.version(version)

    @rule(replicas=st.integers(1, 4))
    def scale(self, replicas: int) -> None:
        self.world.edit({"replicas": replicas})

    @rule()
    def break_the_spec(self) -> None:
        self.world.edit({"replicas": -1})

    @rule(version=VERSIONS)
    def pin(self, version: str) -> None:
        self.world.set_pin(version=version)

    @rule()
    def pin_away_from_what_serves(self) -> None:
        self.world.set_pin(version="previous-stable", rejects=self.world.status.effective_revision)

    @rule()
    def unpin(self) -> None:
        self.world.unpin()

    @rule(stop_after=st.integers(0, 6))
    def reconcile_and_crash(self, stop_after: int) -> None:
        self.world.carry_out(self.world.plan(), stop_after=stop_after)

    @rule(rounds=st.integers(1, 6))
    def let_time_pass(self, rounds: int) -> None:
        for _ in range(rounds):
            self.world.reconcile()
            self.world.tick()

    @rule()
    def the_status_is_lost(self) -> None:
        self.world.manifest.pop("status", None)

    @precondition(lambda self: self.world.snapshot().parsed.spec is not None)
    @rule()
    def it_comes_to_rest_at_what_was_asked_for(self) -> None:
        self.world.settle(rounds=120)
        snapshot, status = self.world.snapshot(), self.world.status
        held = find_condition(status.conditions, "Ready")
        assert held is not None
        if held.reason in {"NoPreviousStableVersion", "UnknownRevision"}:
            return
        assert status.phase in {"Ready", "RolledBack"}, (held, status)
        assert len(self.world.serving_versions()) == 1
        asked = (
            snapshot.pin.spec.version if snapshot.pin is not None else self.world.manifest["spec"]["model"]["version"]
        )
        if not asked.startswith("previous-stable"):
            assert status.effective_version == asked

    @invariant()
    def something_always_serves(self) -> None:
        assert self.world.serving_versions(), "two pods were ready once, and no version here is bad"

    @invariant()
    def ready_is_never_said_of_what_does_not_serve(self) -> None:
        status = self.world.status
        ready = find_condition(status.conditions, "Ready")
        made = self.world.plan()
        if ready is not None and ready.status == "True" and made.status is None:
            assert self.world.serving_versions() == {status.effective_version}


Lives.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestLives = Lives.TestCase
