"""EndpointSlices: what stands in them at once, and what no longer does."""

import pytest

from outrider.api.labels import HOST_PORTS
from outrider.api.meta import Condition, ObjectMeta
from outrider.kube.objects import ENDPOINT_SLICE, POD, SERVICE, Container, ContainerPort, PodStatus, ServicePort
from outrider.local.actors.endpoint_slices import SERVICE_NAME, slice_bodies, target_port
from outrider.local.actors.objects import Pod, PodSpec, Service, ServiceSpec


def pod(
    name="p",
    *,
    ready=True,
    address="127.64.0.1",
    terminating=False,
    annotations=None,
    port_name="http",
    phase="Running",
):
    return Pod(
        ObjectMeta(
            name=name,
            namespace="d",
            uid=f"uid-{name}",
            annotations=annotations or {},
            deletion_timestamp="2026-01-01T00:00:00Z" if terminating else None,
        ),
        PodSpec(node_name="node-1", containers=(Container(ports=(ContainerPort(8080, port_name),)),)),
        PodStatus(phase=phase, pod_ip=address, conditions=(Condition("Ready", "True" if ready else "False"),)),
    )


def service(*ports, **spec):
    return Service(
        ObjectMeta(name="s", namespace="d", uid="svc"), ServiceSpec(ports=ports, selector={"a": "b"}, **spec)
    )


PORTS = {
    "by number": (ServicePort(80, target_port=9000), pod(), 9000),
    "by the name of a container's port": (ServicePort(80, target_port="http"), pod(), 8080),
    "by a name that no container has": (ServicePort(80, target_port="grpc"), pod(), None),
    "the Service's own port by default": (ServicePort(8080), pod(), 8080),
    "where the kubelet has put it": (
        ServicePort(80, target_port="http"),
        pod(annotations={HOST_PORTS: '{"8080": 40123}'}),
        40123,
    ),
    "a number, where the kubelet has put it": (
        ServicePort(80, target_port=8080),
        pod(annotations={HOST_PORTS: '{"8080": 40123}'}),
        40123,
    ),
    "an annotation that cannot be read": (ServicePort(80, target_port=8080), pod(annotations={HOST_PORTS: "[1"}), 8080),
    "another protocol's port of that name": (ServicePort(80, protocol="UDP", target_port="http"), pod(), None),
}


@pytest.mark.parametrize(("port", "target", "expected"), PORTS.values(), ids=PORTS.keys())
def test_target_port(port, target, expected):
    assert target_port(port, target) == expected


def only_endpoint(made):
    (body,) = made.values()
    (endpoint,) = body["endpoints"]
    return endpoint


CONDITIONS = {
    "serves": (pod(), {}, (True, True, False)),
    "is not ready": (pod(ready=False), {}, (False, False, False)),
    "serves and goes": (pod(terminating=True), {}, (False, True, True)),
    "goes and no longer serves": (pod(terminating=True, ready=False), {}, (False, False, True)),
    "is published before it is ready": (pod(ready=False), {"publish_not_ready_addresses": True}, (True, False, False)),
}


@pytest.mark.parametrize(("target", "spec", "expected"), CONDITIONS.values(), ids=CONDITIONS.keys())
def test_conditions_of_a_pod_that(target, spec, expected):
    conditions = only_endpoint(slice_bodies(service(ServicePort(80), **spec), [target]))["conditions"]
    assert (conditions["ready"], conditions["serving"], conditions["terminating"]) == expected


def test_an_endpoint_names_its_pod():
    assert only_endpoint(slice_bodies(service(ServicePort(80)), [pod()])) == {
        "addresses": ["127.64.0.1"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {"kind": "Pod", "namespace": "d", "name": "p", "uid": "uid-p"},
        "nodeName": "node-1",
    }


def test_pods_without_an_address_or_a_future_are_no_endpoints():
    made = slice_bodies(service(ServicePort(80)), [pod(address=""), pod("q", phase="Failed")])
    assert [body["endpoints"] for body in made.values()] == [[]]


def test_pods_with_other_ports_have_their_own_slice_whose_name_stays():
    shared = service(ServicePort(80, "http", target_port="http"))
    one, two = pod("one"), pod("two", annotations={HOST_PORTS: '{"8080": 40123}'})
    alone, both = slice_bodies(shared, [one]), slice_bodies(shared, [one, two])
    assert len(both) == 2
    assert alone.items() <= both.items()
    assert {body["ports"][0]["port"] for body in both.values()} == {8080, 40123}


def test_a_slice_holds_a_hundred_endpoints():
    made = slice_bodies(service(ServicePort(80)), [pod(f"pod-{number:03}") for number in range(201)])
    assert sorted(len(body["endpoints"]) for body in made.values()) == [1, 100, 100]


async def serve(world, **spec):
    await world.add_node("node-1")
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    body = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": ports, **spec},
    }
    await world.api.create(SERVICE.into(dict), body)


def endpoints(world, condition="ready"):
    slices = [each for each in world.all(ENDPOINT_SLICE) if each["metadata"]["labels"][SERVICE_NAME] == "web"]
    return sorted(e["targetRef"]["name"] for each in slices for e in each["endpoints"] if e["conditions"][condition])


def names(pods):
    return sorted(each["metadata"]["name"] for each in pods)


def test_endpoints_follow_the_pods(in_world):
    async def story(world):
        world.stop_seconds = lambda _pod: 20.0
        await serve(world)
        await world.deploy(replicas=3)
        await world.until(world.rolled_out)
        await world.until(lambda: endpoints(world) == names(world.ready(app="web")) and len(endpoints(world)) == 3)
        leaving = endpoints(world)[0]
        await world.api.delete(POD, leaving, "default")
        await world.until(lambda: leaving not in endpoints(world), within=0.5)
        assert endpoints(world, "terminating") == [leaving]
        assert leaving in endpoints(world, "serving")
        await world.until(lambda: not endpoints(world, "terminating") and len(endpoints(world)) == 3)

    in_world(story)


def test_the_slices_go_with_the_service_and_come_with_the_next(in_world):
    async def story(world):
        await serve(world)
        await world.deploy(replicas=1)
        await world.until(lambda: endpoints(world))
        await world.api.delete(SERVICE, "web", "default")
        await world.until(lambda: not world.all(ENDPOINT_SLICE))
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        spec = {"selector": {"app": "web"}, "ports": ports}
        await world.api.create(SERVICE.into(dict), {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
        await world.until(lambda: endpoints(world))

    in_world(story)


def test_a_changed_selector_is_followed(in_world):
    async def story(world):
        await serve(world)
        await world.deploy(replicas=2)
        await world.until(lambda: len(endpoints(world)) == 2)
        await world.api.patch(SERVICE, "web", {"spec": {"selector": {"app": "other"}}}, "default")
        await world.until(lambda: not endpoints(world), within=1)
        assert len(world.all(ENDPOINT_SLICE)) == 1

    in_world(story)


def test_a_service_without_a_selector_is_left_alone(in_world):
    async def story(world):
        spec = {"ports": [{"port": 80}]}
        await world.api.create(SERVICE.into(dict), {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
        own = {
            "metadata": {"name": "mine", "namespace": "default", "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.9"]}],
            "ports": [{"port": 80}],
        }
        await world.api.create(ENDPOINT_SLICE.into(dict), own)
        await world.pass_time(30)
        (only,) = world.all(ENDPOINT_SLICE)
        assert only["endpoints"][0]["addresses"] == ["127.0.0.9"]

    in_world(story)
