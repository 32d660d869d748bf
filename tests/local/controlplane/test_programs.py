"""Where the control plane's programs are looked for."""

import os
from pathlib import Path

import pytest

from outrider.local.controlplane.programs import NEEDED, Programs, ProgramsMissing, find_programs


def _install(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        program = folder / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return folder


def test_a_folder_that_is_named_comes_before_what_was_built(tmp_path: Path) -> None:
    _install(tmp_path / "cache" / "outrider" / "kubernetes" / "1.36.3-a", *NEEDED)
    named = _install(tmp_path / "assets", *NEEDED)
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "KUBEBUILDER_ASSETS": str(named)}
    assert find_programs(environ) == Programs(named)


def test_of_several_that_were_built_the_newest_is_taken_and_half_built_ones_never(tmp_path: Path) -> None:
    cache = tmp_path / "outrider" / "kubernetes"
    old, new = _install(cache / "1.37.0-a", *NEEDED), _install(cache / "1.36.3-b", *NEEDED)
    _install(cache / "1.36.3-c.123", "etcd")
    os.utime(old, (1, 1))
    assert find_programs({"XDG_CACHE_HOME": str(tmp_path)}) == Programs(new)


MISSING = {
    "nothing was ever built": ({}, "no Kubernetes control plane"),
    "the folder that is named has only what setup-envtest brings": (
        {"KUBEBUILDER_ASSETS": "{tmp}/assets"},
        "no kube-controller-manager and no kube-scheduler",
    ),
    "the folder that is named is not there": ({"KUBEBUILDER_ASSETS": "{tmp}/nowhere"}, "no etcd and no kube-apiserver"),
}


@pytest.mark.parametrize(("environ", "told"), MISSING.values(), ids=MISSING.keys())
def test_without_a_whole_control_plane_both_ways_to_one_are_told(tmp_path: Path, environ, told: str) -> None:
    _install(tmp_path / "assets", "etcd", "kube-apiserver", "kubectl")
    named = {key: value.format(tmp=tmp_path) for key, value in environ.items()}
    with pytest.raises(ProgramsMissing, match=told) as refused:
        find_programs({"XDG_CACHE_HOME": str(tmp_path / "cache"), **named})
    hints = " ".join(refused.value.hints)
    assert "make kubernetes" in hints
    assert "KUBEBUILDER_ASSETS=FOLDER" in hints
