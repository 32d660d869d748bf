"""The local world's store: operations per second in memory and in a file, watches, opening, and what an object weighs.

    python bench/store.py [--operations 1000] [--objects 100 10000] [--watchers 1 10 100]

The objects are pods and LLMDeployments as a world has them, see `parts/samples.py`. Everything goes through the
API that the operator and the actors use, in one process, so that no HTTP is measured. A write into a file returns when
it is in the file; several writers at a time share a transaction.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from outrider.kube.api import Kind
from outrider.kube.clock import SystemClock
from outrider.kube.objects import POD
from outrider.kube.resources import LLM_DEPLOYMENT
from outrider.local.store import Store, StoreApi
from outrider.local.store.ownership import Manager
from outrider.local.store.writes import Write, update

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "parts"))
from samples import NAMESPACE, LLMDeployments, Pods  # noqa: E402

Samples = Pods | LLMDeployments
SAMPLES: dict[str, tuple[Kind[Any], Callable[[], Samples]]] = {
    "pod": (POD, Pods),
    "llmdeployment": (LLM_DEPLOYMENT, LLMDeployments),
}
WRITERS = 32
LIST_SECONDS = 2.0
"""How long a list is repeated, at most."""


async def rate(operations: int, writers: int, operation: Callable[[int], Awaitable[object]]) -> float:
    """Operations per second, so many callers at a time, each of which waits for its answer."""
    numbers = iter(range(operations))

    async def one() -> None:
        for number in numbers:
            await operation(number)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(writers)))
    return operations / (time.perf_counter() - began)


async def operations(name: str, path: Path | None, count: int, writers: int) -> dict[str, float]:
    """Every operation once on each of `count` objects, in the order of an object's life."""
    kind, samples = SAMPLES[name][0], SAMPLES[name][1]()
    found: dict[str, float] = {}
    async with Store.opened(SystemClock(), path=path) as store:
        api, raw = StoreApi(store), kind.into(dict)
        bodies = [samples.body(number) for number in range(count)]
        names = [body["metadata"]["name"] for body in bodies]

        async def measure(operation: str, call: Callable[[int], Awaitable[object]]) -> None:
            found[operation] = await rate(count, writers, call)

        async def replace(number: int) -> None:
            update(store, kind, replacements[number], Write(Manager("bench")))
            await store.durable()

        await measure("create", lambda number: api.create(kind, bodies[number]))
        await measure("get", lambda number: api.get(kind, names[number], NAMESPACE))
        stored = [await api.get(raw, each, NAMESPACE) for each in names]
        statuses = [samples.status(each, 0) for each in stored]
        await measure("patch status", lambda number: api.patch_status(kind, names[number], statuses[number], NAMESPACE))
        await measure("patch", lambda number: api.patch(kind, names[number], samples.patch(1), NAMESPACE))
        replacements = [await api.get(raw, each, NAMESPACE) for each in names]
        for each in replacements:
            each["metadata"].setdefault("annotations", {})["example.com/replaced"] = "yes"
        await measure("update", replace)
        await measure("apply", lambda number: api.apply(kind, bodies[number], owner="bench"))
        await measure("apply, no change", lambda number: api.apply(kind, bodies[number], owner="bench"))
        await measure("delete", lambda number: api.delete(kind, names[number], NAMESPACE, grace_seconds=0))
    return found


async def lists(name: str, count: int) -> dict[str, float]:
    """Lists per second of all of so many objects, and of the hundredth part that has a label."""
    kind, samples = SAMPLES[name][0], SAMPLES[name][1]()
    found: dict[str, float] = {}
    async with Store.opened(SystemClock()) as store:
        api = StoreApi(store)
        for number in range(count):
            await api.create(kind, samples.body(number))
        for what, labels in (("list", ""), ("list by label", "team=team-1")):
            done, began = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - began) < LIST_SECONDS and done < 1000:
                await api.list(kind, NAMESPACE, labels=labels)
                done += 1
            found[f"{what} {count}"] = done / elapsed
    return found


async def fan_out(name: str, watchers: int, events: int) -> float:
    """Events per second that arrive, all watches together: each watch gets every change of one object."""
    kind, samples = SAMPLES[name][0], SAMPLES[name][1]()
    async with Store.opened(SystemClock()) as store:
        api = StoreApi(store)
        created = await api.create(kind.into(dict), samples.body(0))
        ready = [asyncio.Event() for _ in range(watchers)]

        async def follow(number: int) -> None:
            left = events
            async for _ in api.watch(kind, NAMESPACE):
                if not ready[number].is_set():  # what there was before
                    ready[number].set()
                    continue
                left -= 1
                if not left:
                    return

        tasks = [asyncio.create_task(follow(number)) for number in range(watchers)]
        for each in ready:
            await each.wait()
        statuses = [samples.status(created, turn) for turn in range(1, events + 1)]
        began = time.perf_counter()
        for turn in range(events):
            await api.patch_status(kind, created["metadata"]["name"], statuses[turn], NAMESPACE)
            if turn % 10 == 9:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return events * watchers / (time.perf_counter() - began)


async def fill(name: str, path: Path, count: int) -> int:
    """Bytes of JSON of all objects, in a file that is made here."""
    kind, samples = SAMPLES[name][0], SAMPLES[name][1]()
    async with Store.opened(SystemClock(), path=path) as store:
        api = StoreApi(store)

        async def one(number: int) -> None:
            stored = await api.create(kind.into(dict), samples.body(number))
            name = stored["metadata"]["name"]
            await api.patch_status(kind, name, samples.status(stored, 0), NAMESPACE)

        for begin in range(0, count, 500):
            await asyncio.gather(*(one(number) for number in range(begin, min(begin + 500, count))))
        return sum(len(record.data) for record in store.table(kind).all())


def open_file(path: Path) -> None:
    """In a process of its own: prints the seconds until the file is open, and the bytes resident before and after."""
    before = resident()
    began = time.perf_counter()
    store = Store(SystemClock(), path=path)
    seconds = time.perf_counter() - began
    print(seconds, before, resident())
    asyncio.run(store.close())


def resident() -> int:
    """Bytes of memory of this process; 0 where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


def weigh(name: str, count: int, folder: Path) -> dict[str, float]:
    """What opening so many objects takes, and what one weighs."""
    path = folder / f"{name}.db"
    size = asyncio.run(fill(name, path, count))
    command = [sys.executable, __file__, "--open", str(path)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    seconds, before, after = (float(word) for word in answer)
    return {
        "open_seconds": round(seconds, 3),
        "json_bytes_per_object": round(size / count),
        "memory_bytes_per_object": round((after - before) / count),
        "disk_bytes_per_object": round(sum(each.stat().st_size for each in folder.glob(f"{path.name}*")) / count),
    }


def key(*parts: object) -> str:
    return "_".join(str(part) for part in parts).replace(", ", "_").replace(" ", "_")


def report(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    results: dict[str, object] = {"benchmark": "store", "operations": options.operations}
    places = (("memory", False, 1), ("file, one writer", True, 1), (f"file, {WRITERS} writers", True, WRITERS))
    for name in SAMPLES:
        columns = []
        for number, (_, in_file, writers) in enumerate(places):
            path = folder / f"{name}-{number}.db" if in_file else None
            columns.append(asyncio.run(operations(name, path, options.operations, writers)))
        print(f"{name + ', per second':<28}" + "".join(f"{place:>20}" for place, _, _ in places))
        for operation in columns[0]:
            print(f"  {operation:<26}" + "".join(f"{column[operation]:>20,.0f}" for column in columns))
            for (place, _, _), column in zip(places, columns, strict=True):
                results[key(name, operation, place, "per_second")] = round(column[operation], 1)
        for count in options.objects:
            for what, per_second in asyncio.run(lists(name, count)).items():
                print(f"  {what:<26}{per_second:>20,.1f}")
                results[key(name, what, "per_second")] = round(per_second, 2)
        for watchers in options.watchers:
            delivered = asyncio.run(fan_out(name, watchers, options.events))
            what = f"events to {watchers} watches"
            print(f"  {what:<26}{delivered:>20,.0f}")
            results[key(name, what, "per_second")] = round(delivered, 1)
        largest = max(options.objects)
        for what, value in weigh(name, largest, folder).items():
            print(
                f"  {what.replace('_', ' '):<26}{value:>20,}" + (f"   ({largest:,} objects)" if "open" in what else "")
            )
            results[key(name, what)] = value
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=1000, help="of each kind, per measurement")
    parser.add_argument("--objects", type=int, nargs="+", default=[100, 10000], help="how many are listed, opened")
    parser.add_argument("--watchers", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--events", type=int, default=500, help="that each watch gets")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        open_file(options.open)
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(report(options, Path(folder))))


if __name__ == "__main__":
    main()
