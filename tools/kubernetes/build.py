"""Build the control plane into the user's cache, once per version: `build.py [--print]`.

It becomes one program with five names, laid out as in KUBEBUILDER_ASSETS:
$XDG_CACHE_HOME/outrider/kubernetes/VERSION/{etcd,kube-apiserver,kube-controller-manager,kube-scheduler,kubectl}.
Beside them, in crds/gateway-api, lie the CustomResourceDefinitions of the Gateway API, which routes are written in.
`--print` only prints the folder. The folder's name holds what the program is made of (Kubernetes' version and a digest
of this folder's files), so that a program is never older than its source.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
BINARY = "kubernetes-control-plane"
PROGRESS_SECONDS = 20.0
GATEWAY_API = "v1.6.3"
GATEWAY_API_SUM = "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc="
"""What the module must be, as go.sum would say."""


def kubernetes_version() -> str:
    """The version of Kubernetes that go.mod requires, such as `1.36.3`."""
    found = re.search(r"^\s*k8s\.io/kubernetes v([0-9.]+)$", (FOLDER / "go.mod").read_text(), re.MULTILINE)
    assert found is not None, "go.mod requires k8s.io/kubernetes"
    return found[1]


def target() -> Path:
    """Where the programs of this version lie, or will lie."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum", "main.go", "build.py"):
        digest.update((FOLDER / name).read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "outrider" / "kubernetes" / f"{kubernetes_version()}-{digest.hexdigest()[:12]}"


def build(folder: Path) -> None:
    """Build next to `folder` and put it in place at the end, so that a build that is given up leaves nothing behind."""
    version = kubernetes_version()
    _, minor, _ = version.split(".")
    # Without these the server calls itself v0.0.0, which Helm's and kubectl's checks of versions stumble over.
    stamps = {
        "k8s.io/component-base/version.gitVersion": f"v{version}",
        "k8s.io/component-base/version.gitMajor": "1",
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/component-base/version.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": f"v{version}",
    }
    flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        command = ["go", "build", "-trimpath", "-mod=readonly", "-ldflags", flags, "-o", str(unfinished / BINARY), "."]
        run_with_progress(command)
        for program in PROGRAMS:
            (unfinished / program).symlink_to(BINARY)
        add_gateway_api(unfinished / "crds" / "gateway-api")
        if folder.exists():  # somebody else was faster
            return
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def add_gateway_api(folder: Path) -> None:
    """The standard channel of the Gateway API: every manifest of the module's folder, as published."""
    command = ["go", "mod", "download", "-json", f"sigs.k8s.io/gateway-api@{GATEWAY_API}"]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=FOLDER.parent).stdout)
    if answer["Sum"] != GATEWAY_API_SUM:
        sys.exit(f"the module sigs.k8s.io/gateway-api {GATEWAY_API} is not what it was: {answer['Sum']}")
    folder.mkdir(parents=True)
    for manifest in (Path(answer["Dir"]) / "config" / "crd" / "standard").glob("*.yaml"):
        (folder / manifest.name).write_bytes(manifest.read_bytes())


def run_with_progress(command: list[str]) -> None:
    """Run the compiler, and say now and then that it still works."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=FOLDER, env={**os.environ, "CGO_ENABLED": "0"})
    try:
        while True:
            try:
                code = process.wait(PROGRESS_SECONDS)
                break
            except subprocess.TimeoutExpired:
                print(f"  still building after {time.monotonic() - started:.0f} s", flush=True)
    except BaseException:
        process.kill()
        raise
    if code != 0:
        sys.exit(f"the build failed (go exited with {code}); what it printed is above")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the Kubernetes control plane for `outrider up --kubernetes`.")
    parser.add_argument("--print", action="store_true", help="print the folder of the programs, build nothing")
    parser.add_argument(
        "--if-possible", action="store_true", help="without Go do nothing, but in CI, where Kubernetes must be tested"
    )
    arguments = parser.parse_args()
    folder = target()
    if arguments.print:
        print(folder)
        return
    if folder.is_dir():
        print(f"Kubernetes {kubernetes_version()} is built: {folder}")
        return
    if shutil.which("go") is None:
        if os.environ.get("KUBEBUILDER_ASSETS") or (arguments.if_possible and not os.environ.get("CI")):
            return
        sys.exit(
            "Building Kubernetes needs Go (https://go.dev/dl/), and there is none on the PATH.\n"
            "Without Go: take ready binaries (etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl)\n"
            "of a Kubernetes release, put them into one folder, and export KUBEBUILDER_ASSETS=FOLDER."
        )
    print(f"Building Kubernetes {kubernetes_version()}: about 7 minutes on 2 cores, once per version ...", flush=True)
    build(folder)
    print(f"Kubernetes {kubernetes_version()} is built: {folder}")


if __name__ == "__main__":
    main()
