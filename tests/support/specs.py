"""Hypothesis strategies for every type of `outrider.api`, made from the types themselves.

`valid(tp)` makes JSON that the type's reader takes. Where fields depend on each other (`_MADE`) a strategy of its own
makes them agree, so that next to nothing has to be thrown away.
"""

import copy
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from hypothesis import strategies as st
from msgspec import Meta

from outrider.api.duration import Duration
from outrider.api.fields import Leaf, NoneOf, whole
from outrider.api.model_uri import ModelUri
from outrider.api.money import Money
from outrider.api.percentage import Percentage
from outrider.api.quantity import Quantity
from outrider.api.spec import LLMDeploymentSpec
from outrider.api.spec_model import Model, Registry, Resources
from outrider.api.spec_operations import Autoscaling, Canary, Objective, RollingUpdate, WrittenTriggers
from outrider.api.spec_pod import Runtime, Security
from outrider.api.trigger import Trigger
from outrider.api.version import Version

Json = Any
Strategy = st.SearchStrategy[Json]

WORDS = st.text("abcxyz-.059", min_size=1, max_size=8)
TEXTS = st.text(max_size=12) | WORDS
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?){0,4}", fullmatch=True)
"""Names of objects, up to the longest."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(WORDS, JSON, max_size=3)
JUNK = JSON | st.sampled_from(
    ["", "0", "-1", "1e400", "25%", "latest", "hf://", "\n", -1, 2**31, 2**63, 0.5, [], {}, [None]]
)
"""What does not belong where it is put."""

_AMOUNTS = st.sampled_from([0, 1, "500m", "1.5", "16Gi", "1e3", "100k", "+2", "0", "7Ei", "3n"]) | st.integers(0, 2**40)
_NUMBERS = st.decimals(0, 100, places=3).map(str)
_HUB = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
_PATH = st.from_regex(r"[a-z0-9][a-z0-9._/-]{0,20}", fullmatch=True)
_LEAVES: Mapping[Any, Strategy] = {
    Quantity: _AMOUNTS,
    Duration: st.lists(st.sampled_from(["1d", "2h", "30m", "1.5s", "500ms", "1us", "7ns"]), min_size=1, max_size=3).map(
        "".join
    ),
    Money: st.sampled_from(["$5000", "$0.001", "$5,000"]) | st.integers(0, 10**9) | st.floats(0, 10**6),
    Percentage: _NUMBERS.map(lambda number: f"{number}%"),
    Version: st.sampled_from(["v1.2.0", "1.0.0-rc.1+build", "latest", "main", "previous-stable"])
    | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,30}", fullmatch=True),
    ModelUri: st.builds("hf://{}/{}".format, _HUB, _HUB)
    | st.builds("hf://{}/{}@{}".format, _HUB, _HUB, _HUB)
    | st.builds("{}://{}/{}".format, st.sampled_from(["s3", "gs", "pvc"]), st.just("models"), _PATH)
    | st.builds("{}://host.example/{}".format, st.sampled_from(["http", "https"]), _PATH)
    | st.builds("file:///{}".format, _PATH)
    | st.sampled_from(["oci://r.example/m:v1", f"oci://r.example:5000/a/b@sha256:{'a' * 64}", "oci://r/m"]),
    Trigger: st.builds(
        "{}{}{}".format,
        st.sampled_from([">", ">= ", "<", "<="]),
        _NUMBERS,
        st.sampled_from(["%", "ms", "s", " tokens/sec", " tokens/second"]),
    ),
    int | str: st.integers(0, 2**31 - 1) | st.integers(0, 100).map(lambda share: f"{share}%"),
}


def valid(tp: Any) -> Strategy:
    """JSON that is good for a type as struct fields are annotated with."""
    origin, args = get_origin(tp), get_args(tp)
    if tp in _MADE:
        return _MADE[tp]()
    if origin is Annotated:
        return _annotated(args[0], args[1:])
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(valid(arg) for arg in args if arg is not type(None)))
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(valid(args[0]), max_size=3)
    if origin is dict:
        return OBJECTS if args[1] is Any else st.dictionaries(WORDS, valid(args[1]), max_size=3)
    if isinstance(tp, type) and issubclass(tp, msgspec.Struct):
        return fields_of(tp)
    return _SCALARS[tp]


_SCALARS: Mapping[Any, Strategy] = {
    bool: st.booleans(),
    int: st.integers(-(2**31), 2**31 - 1),
    float: st.floats(0, 10**6) | st.integers(0, 10**6),
    str: TEXTS,
}


def _annotated(base: Any, extras: tuple[Any, ...]) -> Strategy:
    leaf = next((extra for extra in extras if isinstance(extra, Leaf)), None)
    if leaf is not None:
        read = leaf.read
        return (_LEAVES[base] if base in _LEAVES else valid(base)).filter(lambda raw: _takes(read, raw))
    meta = next((extra for extra in extras if isinstance(extra, Meta)), None)
    made = valid(base) if meta is None else _within(base, meta)
    banned = [word for extra in extras if isinstance(extra, NoneOf) for word in extra.words]
    return made.filter(lambda raw: raw not in banned)


def _within(base: Any, meta: Meta) -> Strategy:
    if base is int:
        return st.integers(meta.ge, meta.le) | st.integers(meta.ge, min(meta.le or 9, 9))  # type: ignore[arg-type]
    if base is float:
        return st.floats(meta.ge, meta.le if meta.le is not None else 10**6)
    if meta.pattern is not None:
        pattern, longest = whole(meta.pattern), meta.max_length or 10**6
        return st.from_regex(pattern, fullmatch=True).filter(lambda text: len(text) <= longest)
    return valid(base).filter(lambda value: len(value) >= (meta.min_length or 0))


def _takes(read: Callable[[Any], Any], raw: Any) -> bool:
    try:
        read(raw)
    except ValueError:
        return False
    return True


def fields_of(tp: type[msgspec.Struct], **made: Strategy) -> Strategy:
    """An object with what a struct requires, and with some of its other fields; `made` replaces some strategies."""
    infos = {info.encode_name: info for info in msgspec.structs.fields(tp)}
    wanted = {name for name, info in infos.items() if info.required}
    others = sorted(set(infos) - wanted)

    def chosen(names: list[str]) -> Strategy:
        return st.fixed_dictionaries(
            {name: made[name] if name in made else valid(infos[name].type) for name in [*sorted(wanted), *names]}
        )

    if not others:
        return st.deferred(lambda: chosen([]))
    return st.lists(st.sampled_from(others), max_size=4, unique=True).flatmap(chosen)


# Fields that depend on each other


@st.composite
def _resources(draw: st.DrawFn) -> Json:
    spec: dict[str, Any] = {}
    memory = draw(st.sampled_from([None, ("1Gi", "2Gi"), (1024, "1Gi"), ("500M", "500M")]))
    if memory is not None:
        spec = {"requests": {"memory": memory[0]}, "limits": {"memory": memory[1]}}
    if draw(st.booleans()):
        spec.setdefault(draw(st.sampled_from(["requests", "limits"])), {})["nvidia.com/gpu"] = draw(
            st.sampled_from([0, 1, 2, 8, "4"])
        )
    if draw(st.booleans()):
        spec.setdefault("requests", {})["cpu"] = draw(_LEAVES[Quantity])
    if draw(st.booleans()):
        spec["policies"] = {"utilizationTarget": draw(st.floats(0, 1))}
    return spec


@st.composite
def _autoscaling(draw: st.DrawFn) -> Json:
    made = draw(fields_of(Autoscaling))
    if "minReplicas" in made and "maxReplicas" in made:
        made["minReplicas"], made["maxReplicas"] = sorted((made["minReplicas"], made["maxReplicas"]))
    elif made.get("maxReplicas") == 0:  # fewer than there are by default
        made["minReplicas"] = 0
    return made


@st.composite
def _environment(draw: st.DrawFn) -> Json:
    names = draw(st.lists(st.from_regex(r"[A-Z][A-Z0-9_]{0,9}", fullmatch=True), max_size=3, unique=True))
    kept = [name for name in names if not name.startswith("POD_")]
    return {"env": [{"name": name, **draw(_SOURCES)} for name in kept]}


_SOURCES: Strategy = st.sampled_from(
    [{}, {"value": ""}, {"value": "a b"}, {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
)


@st.composite
def _spec(draw: st.DrawFn) -> Json:
    spec = draw(
        fields_of(
            LLMDeploymentSpec,
            volumes=st.just([]), volumeMounts=st.just([]), containers=st.just([]), replicas=st.integers(0, 5),
        )
    )  # fmt: skip
    spec["model"] = draw(_model())
    names = draw(st.lists(st.sampled_from(["cache", "data", "tmp"]), max_size=2, unique=True))
    spec["volumes"] = [{"name": name, "emptyDir": {}} for name in names]
    spec["volumeMounts"] = [{"name": name, "mountPath": f"/{name}"} for name in names]
    spec["containers"] = draw(st.lists(st.sampled_from(_CONTAINERS), max_size=2, unique_by=lambda one: one["name"]))
    return spec


_CONTAINERS: list[dict[str, Any]] = [
    {"name": "proxy", "image": "proxy:1", "env": [{"name": "A", "value": "b"}]},
    {"name": "model-server", "env": [{"name": "B", "value": "c"}]},
    {"name": "other"},
]


@st.composite
def _model(draw: st.DrawFn) -> Json:
    made = draw(fields_of(Model, parallelism=st.sampled_from([{}, {"tensor": 1}, {"pipeline": 1, "data": 1}])))
    made["modelUri"] = draw(_LEAVES[ModelUri])
    return made


_TARGETS = st.sampled_from(["500ms", "$0.001", "99.9%", "150", 150, 0.5])
_MADE: Mapping[Any, Callable[[], Strategy]] = {
    LLMDeploymentSpec: _spec,
    Model: _model,
    Registry: lambda: st.just("mirror.example/models") | fields_of(Registry),
    Resources: _resources,
    Autoscaling: _autoscaling,
    Runtime: _environment,
    Canary: lambda: st.lists(st.integers(0, 100), max_size=4, unique=True).map(
        lambda weights: {"steps": [{"weight": weight} for weight in sorted(weights)]}
    ),
    Objective: lambda: fields_of(Objective, target=_TARGETS),
    RollingUpdate: lambda: fields_of(RollingUpdate).filter(
        lambda made: made.get("maxSurge", 1) not in (0, "0%") or made.get("maxUnavailable", 0) not in (0, "0%")
    ),
    WrittenTriggers: lambda: fields_of(WrittenTriggers).filter(bool),
    Security: lambda: fields_of(Security).filter(lambda made: made.get("runAsUser") != 0),
}
SPECS = valid(LLMDeploymentSpec)
"""Specs that are good."""


@st.composite
def nearly(draw: st.DrawFn, made: Strategy = SPECS) -> Json:
    """Something good, in which one value has been replaced, removed, or added."""
    value = copy.deepcopy(draw(made))  # parts of it are the strategies' own
    places = list(_places(value))
    holder, key = draw(st.sampled_from(places))
    change = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if change == "replace":
        holder[key] = draw(JUNK)
    elif change == "remove":
        del holder[key]
    elif isinstance(holder, dict):
        holder[draw(WORDS)] = draw(JUNK)
    else:
        holder.append(draw(JUNK))
    return value


def _places(value: Json) -> Iterator[tuple[Any, Any]]:
    """Every place within a value, as what holds it and its key."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


def printed(value: Any) -> Json:
    """A typed value as people would write it, with every default that it has."""
    if isinstance(value, msgspec.Struct):
        infos = msgspec.structs.fields(value)
        pairs = ((info.encode_name, getattr(value, info.name)) for info in infos)
        return {name: printed(item) for name, item in pairs if item is not None}
    if isinstance(value, dict):
        return {key: printed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [printed(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
