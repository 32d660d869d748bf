"""CustomResourceDefinitions of other projects, for tests: print the folder of one. `extra_crds.py inference-extension`.

They come from the projects' Go modules, each pinned by its checksum. Nothing of them is kept here.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

DOWNLOAD_SECONDS = 300


class Source(NamedTuple):
    module: str
    version: str
    checksum: str
    """`h1:` as in a go.sum."""
    folder: str
    """Where in the module the YAML files are."""


SOURCES = {
    # The endpoint picker's kinds: InferencePool.
    "inference-extension": Source(
        "sigs.k8s.io/gateway-api-inference-extension",
        "v1.5.0",
        "h1:w9Awt60cmI1vM7Y6N81h8wDCBP0WkmxpdI7GKY0v070=",
        "config/crd/bases",
    ),
    # ServiceMonitor and PrometheusRule.
    "prometheus-operator": Source(
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        "example/prometheus-operator-crd",
    ),
}


class NotAvailable(Exception):
    """The module cannot be had on this machine: no Go, or no network."""


def folder(name: str) -> Path:
    """The folder with the YAML files, downloaded if need be into Go's own module cache.

    Raises:
        NotAvailable: it cannot be downloaded.
        ValueError: what was downloaded is not what is pinned.
    """
    source = SOURCES[name]
    with tempfile.TemporaryDirectory() as empty:
        command = ["go", "mod", "download", "-json", f"{source.module}@{source.version}"]
        try:
            done = subprocess.run(
                command, cwd=empty, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotAvailable(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        raise NotAvailable(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    found = json.loads(done.stdout)
    if found["Sum"] != source.checksum:
        raise ValueError(f"{source.module} {source.version} has checksum {found['Sum']}, not {source.checksum}")
    return Path(found["Dir"]) / source.folder


if __name__ == "__main__":
    try:
        print(folder(sys.argv[1]))
    except NotAvailable as error:
        sys.exit(str(error))
