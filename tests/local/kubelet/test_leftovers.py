"""Looking for what is left of runs, while others make and remove folders of pods."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

from outrider.local.kubelet.leftovers import MARKER, programs
from outrider.local.kubelet.shim import start_time

ROUNDS = 100


def test_folders_of_pods_that_vanish_while_it_looks_are_nothing(tmp_path: Path) -> None:
    """Path.glob of Python 3.11 raises when a folder goes between being listed and being read.

    Where measuring what pods use met that, the world ended; where a worker met it, what was left of a pod ran on.
    """
    mine = tmp_path / "node-1" / "uid" / "model" / "0"
    mine.mkdir(parents=True)
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            pod = tmp_path / "node-1" / "other"
            (pod / "model" / "0").mkdir(parents=True)
            shutil.rmtree(pod)

    churner = threading.Thread(target=churn)
    churner.start()
    program = subprocess.Popen(["sleep", "60"], env={**os.environ, MARKER: str(mine)})
    record = {"start": start_time(program.pid), "pid": program.pid, "shim": 0}
    (mine / "run.json").write_text(json.dumps(record))
    try:
        found: list[dict[int, Path]] = [programs(tmp_path) for _ in range(ROUNDS)]
    finally:
        done.set()
        churner.join()
        program.kill()
        program.wait()
    assert found == [{program.pid: mine}] * ROUNDS
