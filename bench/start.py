"""How long a person waits: `outrider --help`, `outrider get`, and `outrider up` until the first token is served.

Beside each the time that Python itself needs to start, since these machines are noisy: trust the ratios.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = 7


def timed(arguments: list[str], environment: dict[str, str], stdin: str = "") -> float:
    started = time.perf_counter()
    command = [sys.executable, *arguments]
    subprocess.run(command, env=environment, input=stdin, text=True, check=True, capture_output=True)
    return time.perf_counter() - started


def median(arguments: list[str], environment: dict[str, str]) -> float:
    timed(arguments, environment)
    return statistics.median(timed(arguments, environment) for _ in range(RUNS))


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "OUTRIDER_HOME": home, "HOME": home}
        environment.pop("KUBECONFIG", None)
        python = median(["-c", "pass"], environment)
        results = {"python": python, "help": median(["-m", "outrider", "--help"], environment)}
        started = time.perf_counter()
        timed(["-m", "outrider", "up", "--detach", "--gateway-port", "0", "--api-port", "0"], environment)
        results["up"] = time.perf_counter() - started
        try:
            manifest = (ROOT / "examples" / "llama-3.1-8b.yaml").read_text()
            timed(["-m", "outrider", "apply", "--filename", "-", "--wait"], environment, manifest)
            results["up_to_first_token"] = time.perf_counter() - started
            results["get"] = median(["-m", "outrider", "get", "llmd", "-A"], environment)
            results["status"] = median(["-m", "outrider", "status"], environment)
        finally:
            timed(["-m", "outrider", "down"], environment)
    print(f"{'':<22}{'seconds':>9}{'times Python':>14}")
    for name, seconds in results.items():
        print(f"{name:<22}{seconds:>9.3f}{seconds / python:>14.1f}")
    print(json.dumps({f"{name}_seconds": round(seconds, 4) for name, seconds in results.items()}))


if __name__ == "__main__":
    main()
