"""The Containerfile, read: no container engine runs here."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from outrider import __version__
from outrider.plan.install.manifests import manifests
from outrider.plan.install.settings import DEFAULT_IMAGE, Installation

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Containerfile").read_text()
STAGES = [stage.replace("\\\n", " ") for stage in re.split(r"^(?=FROM )", TEXT, flags=re.MULTILINE)[1:]]


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _copied() -> list[str]:
    lines = re.findall(r"^COPY (?!--from)(.+)$", TEXT, re.MULTILINE)
    return [path for line in lines for path in line.split()[:-1]]


def _instruction(stage: str, name: str) -> str:
    (found,) = re.findall(rf"^{name} (.+)$", stage, re.MULTILINE)
    return str(found)


def test_everything_that_is_copied_exists_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    for path in _copied():
        assert (ROOT / path).exists(), path
        assert f"!{path}" in ignored


def test_the_wheel_finds_all_that_it_is_made_of() -> None:
    project = _project()
    needed = [*project["project"]["license-files"], *project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
    needed += ["pyproject.toml", project["project"]["readme"], project["tool"]["hatch"]["version"]["path"]]
    for path in needed:
        assert any(path == copied or path.startswith(f"{copied}/") for copied in _copied()), path


def test_the_entry_point_is_a_program_of_the_project_on_the_path() -> None:
    final = STAGES[-1]
    (program,) = json.loads(_instruction(final, "ENTRYPOINT"))
    assert program in _project()["project"]["scripts"]
    folder = re.search(r"PATH=(\S+?):", final)
    assert folder is not None
    target = _instruction(final, "COPY --from=build").split()[-1]
    assert folder[1] == f"{target}/bin"
    (deployment,) = [one for one in manifests(Installation(), "outrider-system") if one["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["command"] == [program]


def test_both_stages_have_the_same_python_or_the_environment_would_not_run() -> None:
    bases = [_instruction(stage, "FROM").split()[0] for stage in STAGES]
    assert bases == ["python:3.12-slim"] * 2


def test_the_user_is_a_number_and_not_root() -> None:
    """`runAsNonRoot` cannot judge a name."""
    user = _instruction(STAGES[-1], "USER")
    assert [int(part) > 0 for part in user.split(":")] == [True, True]


def test_only_tmp_is_written_to_since_the_root_file_system_is_read_only() -> None:
    (deployment,) = [one for one in manifests(Installation(), "outrider-system") if one["kind"] == "Deployment"]
    mounts = deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert [mount["mountPath"] for mount in mounts] == [_instruction(STAGES[-1], "WORKDIR")]
    assert "HOME=/tmp" in STAGES[-1]


def test_the_name_in_the_first_line_is_the_image_that_is_installed_by_default() -> None:
    assert f"--tag {DEFAULT_IMAGE} ." in TEXT
    assert DEFAULT_IMAGE.endswith(f":{__version__}")
