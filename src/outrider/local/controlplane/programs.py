"""Where the programs of the control plane lie."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
"""Names a folder of ready binaries, laid out as setup-envtest and kubebuilder do."""
GATEWAY_API = Path("crds") / "gateway-api"
"""Where `make kubernetes` puts the CustomResourceDefinitions of the Gateway API, within the programs' folder."""


class ProgramsMissing(Exception):
    """There is no control plane to run; `hints` say how to come by one."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.hints = (
            "with Go, build it once (about 7 minutes on 2 cores), in a checkout of Outrider:  make kubernetes",
            f"without Go, put the binaries of a Kubernetes release ({', '.join(NEEDED)}, kubectl)",
            f"into one folder, and name it:  export {ASSETS_VARIABLE}=FOLDER",
        )


@dataclass(frozen=True)
class Programs:
    """A folder with the programs of one version of Kubernetes."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def kubectl(self) -> Path | None:
        """The kubectl that came with them, if one did."""
        found = self.path("kubectl")
        return found if found.exists() else None

    @property
    def gateway_api(self) -> tuple[Path, ...]:
        """The manifests of the Gateway API's CustomResourceDefinitions; empty if none came with the programs."""
        return tuple(sorted((self.folder / GATEWAY_API).glob("*.yaml")))


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where `make kubernetes` puts what it builds: one folder per version."""
    cache = environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "outrider" / "kubernetes"


def find_programs(environ: Mapping[str, str] | None = None) -> Programs:
    """The control plane to run: that of `KUBEBUILDER_ASSETS`, else the newest that `make kubernetes` built.

    Raises:
        ProgramsMissing: there is none, or it is not whole.
    """
    environ = os.environ if environ is None else environ
    if assets := environ.get(ASSETS_VARIABLE):
        folder = Path(assets).absolute()
        if absent := _absent(folder):
            raise ProgramsMissing(
                f"{ASSETS_VARIABLE} names {folder}, which has no {' and no '.join(absent)} "
                "(setup-envtest brings no controller-manager and no scheduler: without them no pod is ever made)"
            )
        return Programs(folder)
    built = [folder for folder in _folders(cache_folder(environ)) if not _absent(folder)]
    if not built:
        raise ProgramsMissing("there is no Kubernetes control plane on this machine yet")
    return Programs(max(built, key=lambda folder: folder.stat().st_mtime))


def _folders(cache: Path) -> Sequence[Path]:
    # A build that is under way has a folder here too; it lacks programs until it ends.
    return [entry for entry in cache.iterdir() if entry.is_dir()] if cache.is_dir() else []


def _absent(folder: Path) -> list[str]:
    return [name for name in NEEDED if not os.access(folder / name, os.X_OK)]
