"""Which image a service runs: the one that its spec names, else the one that an operator chose when it was released."""

from plan_world import LLAMA, PlanWorld, merged

from outrider.plan.deployment.snapshot import PlanConfig

OWN = "registry.example/vllm:own"


def _image(world: PlanWorld) -> str:
    (found,) = [one for one in world.revisions() if one.spec.hash == world.status.effective_revision]
    return found.spec.image


def test_an_image_that_the_spec_no_longer_names_goes() -> None:
    world = PlanWorld(merged(LLAMA, {"spec": {"model": {"image": OWN}}}))
    world.settle()
    assert _image(world) == OWN
    world.edit({"model": {"image": None}})
    world.settle()
    assert _image(world) == PlanConfig().engine_image


def test_an_image_of_the_operators_choice_outlives_its_upgrade_also_after_one_of_the_specs() -> None:
    world = PlanWorld()
    world.settle()
    world.edit({"model": {"image": OWN}})
    world.settle()
    world.config = PlanConfig(engine_image="vllm/vllm-openai:v9.9.9")
    world.edit({"model": {"image": None}})
    world.settle()
    assert _image(world) == PlanConfig().engine_image, "what it ran before the spec named one"
