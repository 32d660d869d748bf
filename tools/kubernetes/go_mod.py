"""Write go.mod and go.sum for another version of Kubernetes: `go_mod.py 1.36.3`.

Kubernetes' own go.mod replaces its staging modules (k8s.io/api, k8s.io/client-go and so on) by folders of its
repository, and replacements count only in the main module: each has to be replaced here by the published module of the
same release, v0.MINOR.PATCH.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def upstream_go_mod(version: str) -> str:
    """Kubernetes' own go.mod, as the module proxy serves it."""
    command = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{version}"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=FOLDER.parent)
    return Path(json.loads(answer.stdout)["GoMod"]).read_text()


def render(version: str, upstream: str) -> str:
    """Our go.mod: the modules of the five programs, and one replacement for each staging module."""
    minor, patch = version.split(".")[1:]
    staging = re.findall(r"^\s*(k8s\.io/[a-z-]+) => \./staging/", upstream, re.MULTILINE)
    etcd = re.search(r"go\.etcd\.io/etcd/server/v3 (v[0-9.]+)", upstream)
    go = re.search(r"^go ([0-9.]+)$", upstream, re.MULTILINE)
    if not staging or etcd is None or go is None:
        sys.exit(f"Kubernetes {version} names its modules in another way: look at its go.mod")
    lines = [
        f"// Written by go_mod.py {version}.",
        "module github.com/outrider/kubernetes-control-plane",
        "",
        f"go {go[1]}",
        "",
        "require (",
        "\tgithub.com/spf13/cobra v1.10.0",
        f"\tgo.etcd.io/etcd/server/v3 {etcd[1]}",
        *(f"\tk8s.io/{name} v0.{minor}.{patch}" for name in ("client-go", "component-base", "kubectl")),
        f"\tk8s.io/kubernetes v{version}",
        ")",
        "",
        "replace (",
        *(f"\t{name} => {name} v0.{minor}.{patch}" for name in staging),
        ")",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    if len(sys.argv) != 2 or not re.fullmatch(r"1\.[0-9]+\.[0-9]+", sys.argv[1]):
        sys.exit("usage: go_mod.py VERSION, such as go_mod.py 1.36.3")
    (FOLDER / "go.mod").write_text(render(sys.argv[1], upstream_go_mod(sys.argv[1])))
    (FOLDER / "go.sum").unlink(missing_ok=True)
    subprocess.run(["go", "mod", "tidy"], check=True, cwd=FOLDER)


if __name__ == "__main__":
    main()
