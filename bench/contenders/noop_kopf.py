"""The no-op operator of `bench/controllers.py` on kopf. Runs in an environment of its own, which has nothing but kopf.

`--cache` gives it kopf's only shared cache, an index, as ours has one; without it no handler can see other objects.
"""

import argparse
import resource
import time

import kopf

parser = argparse.ArgumentParser()
parser.add_argument("--kubeconfig", required=True)
parser.add_argument("--count", type=int, required=True)
parser.add_argument("--cache", action="store_true")
arguments = parser.parse_args()
seen: dict[int, set[str]] = {}


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: object) -> None:
    settings.posting.enabled = False
    settings.scanning.disabled = True


@kopf.on.login()
def login(**given: object) -> kopf.ConnectionInfo | None:
    return kopf.login_with_kubeconfig(**given)


@kopf.on.event("inference.llm-d.io", "v1alpha1", "llmdeployments")
def handle(name: str, spec: dict[str, int], **_: object) -> None:
    wave = spec.get("replicas", 0)
    names = seen.setdefault(wave, set())
    names.add(name)
    if len(names) == arguments.count:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(wave, time.monotonic(), usage.ru_utime + usage.ru_stime, flush=True)


if arguments.cache:

    @kopf.index("inference.llm-d.io", "v1alpha1", "llmdeployments")
    def by_name(name: str, spec: dict[str, int], **_: object) -> dict[str, int]:
        return {name: spec.get("replicas", 0)}


kopf.run(clusterwide=True, standalone=True)
