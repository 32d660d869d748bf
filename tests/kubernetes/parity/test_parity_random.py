"""Histories that nobody thought of: random patches and applies by several owners, put to both servers.

The same ones every time, so that a run means something; `PARITY_SEED=N` draws others, which nobody has fixed anything
for: the held-out set.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from control_plane import RunningPlane
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from parity.corpus_workloads import LABELS, deployment
from parity.known import read_known, review
from parity.run import compare
from parity.steps import Case, apply, create, get, obj, patch

from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT

KNOWN = read_known(Path(__file__).with_name("known_differences_random.yaml"))
SEED = os.environ.get("PARITY_SEED")

Test = Callable[..., None]
NAMES = st.sampled_from("abc")
VALUES = st.sampled_from(["1", "2"])
OWNERS = st.sampled_from(["one", "two", "three"])
DATA = st.dictionaries(NAMES, VALUES, max_size=3)
FORCE = st.sampled_from(["true", "false"])


def _merged(data: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    return {"data": data, "metadata": {"labels": labels}}


config_map_steps = st.one_of(
    st.builds(
        lambda sort, data, labels, owner: patch(CONFIG_MAP, sort, "c", _merged(data, labels), fieldManager=owner),
        st.sampled_from(["merge", "strategic"]),
        st.dictionaries(NAMES, VALUES | st.none(), max_size=3),
        st.dictionaries(NAMES, VALUES | st.none(), max_size=2),
        OWNERS,
    ),
    st.builds(
        lambda data, labels, owner, force: apply(
            CONFIG_MAP, obj(CONFIG_MAP, "c", {"labels": labels} if labels else {}, data=data), owner, force=force
        ),
        DATA.filter(bool),
        DATA,
        OWNERS,
        FORCE,
    ),
    st.builds(
        lambda name, value, op, owner: patch(
            CONFIG_MAP, "json", "c", [{"op": op, "path": f"/data/{name}", "value": value}], fieldManager=owner
        ),
        NAMES,
        VALUES,
        st.sampled_from(["add", "test", "remove"]),
        OWNERS,
    ),
)

ENVIRONMENT = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("ABC"), "value": VALUES}),
    max_size=3,
    unique_by=lambda each: each["name"],
)
PORTS = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.sampled_from([80, 81, 82])}, optional={"name": st.sampled_from(["x", "y"])}
    ),
    max_size=2,
    unique_by=(lambda each: each["containerPort"], lambda each: each.get("name", str(each))),
)
SERVER = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["server:2", "server:3"]),
        "env": ENVIRONMENT,
        "ports": PORTS,
        "args": st.lists(VALUES, min_size=1, max_size=3),
    },
)


def _template(server: dict[str, Any], sidecar: bool) -> dict[str, Any]:
    containers = [{"name": "server", **server}] + [{"name": "sidecar", "image": "sidecar:1"}] * sidecar
    return {"spec": {"template": {"spec": {"containers": containers}}}}


deployment_steps = st.one_of(
    st.builds(
        lambda server, sidecar, owner: patch(
            DEPLOYMENT, "strategic", "d", _template(server, sidecar), fieldManager=owner
        ),
        SERVER,
        st.booleans(),
        OWNERS,
    ),
    st.builds(
        lambda server, sidecar, owner, force: apply(
            DEPLOYMENT, obj(DEPLOYMENT, "d", **_template(server, sidecar)), owner, force=force
        ),
        SERVER,
        st.booleans(),
        OWNERS,
        FORCE,
    ),
    st.builds(
        lambda replicas, paused, owner: patch(
            DEPLOYMENT, "merge", "d", {"spec": {"replicas": replicas, "paused": paused}}, fieldManager=owner
        ),
        st.integers(-1, 2),
        st.booleans() | st.none(),
        OWNERS,
    ),
    st.builds(
        lambda labels, owner: patch(
            DEPLOYMENT, "merge", "d", {"metadata": {"annotations": labels}}, fieldManager=owner
        ),
        st.dictionaries(NAMES, VALUES | st.none(), max_size=2),
        OWNERS,
    ),
)


def _checked(case: Case, plane: RunningPlane) -> None:
    found = asyncio.run(compare({"a random history": case}, plane.config))
    new, _ = review(found, KNOWN)
    told = "\n".join(f"{number}: {step.told()} {step.body}" for number, step in enumerate(case))
    assert not new, told + "\n" + "\n".join(map(str, new))


def random(examples: int) -> Callable[[Test], Test]:
    """As many histories, always the same; or others, by the seed that was asked for."""

    def decorate(test: Test) -> Test:
        wrapped = settings(
            max_examples=examples,
            derandomize=SEED is None,
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )(test)
        return wrapped if SEED is None else seed(int(SEED))(wrapped)

    return decorate


@random(30)
@given(steps=st.lists(config_map_steps, min_size=2, max_size=7))
def test_random_histories_of_a_config_map(bare_plane: RunningPlane, steps: Case) -> None:
    _checked([create(CONFIG_MAP, obj(CONFIG_MAP, "c", data={"a": "0"}), fieldManager="one"), *steps], bare_plane)


@random(30)
@given(steps=st.lists(deployment_steps, min_size=2, max_size=6))
def test_random_histories_of_a_deployment(bare_plane: RunningPlane, steps: Case) -> None:
    start = create(DEPLOYMENT, deployment("d", {"labels": LABELS}), fieldManager="one")
    _checked([start, *steps, get(DEPLOYMENT, "d")], bare_plane)
