"""`outrider sim`: one scenario, many, and what a broken promise leaves behind."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from outrider.cli.errors import Exit
from outrider.cli.main import run
from outrider.sim.crashes import NAME, SPEC
from outrider.sim.draw import draw
from outrider.sim.incidents import Apply, Edit, Scenario, Stop

HOPELESS = Scenario(
    seed=1,
    incidents=(
        Apply(at=1, deployment=NAME, spec=SPEC),
        Stop(at=10, seconds=5),
        Edit(at=20, deployment=NAME, spec={"model": {"version": "v1.1.0"}}),
    ),
    nodes=1,
    gpus=0,
)
"""A cluster without a single GPU: nothing that is asked for can come true."""


def written(folder: Path, scenario: Scenario) -> str:
    path = folder / "hopeless.json"
    path.write_bytes(msgspec.json.encode(scenario))
    return str(path)


def test_one_seed_is_told_as_a_timeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--seed", "1", "--for", "1m"]) == Exit.OK
    told = capsys.readouterr().out
    assert "scenario    apply: deployment llama" in told
    assert "Seed 1: every promise held" in told


def test_one_seed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--seed", "1", "--for", "1m", "--output", "json"]) == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert found["violation"] is None
    assert found["virtualSeconds"] > 60
    who = {entry["who"].partition("-")[0] for entry in found["timeline"]}  # several operators have numbers
    assert who >= {"scenario", "operator", "pod", "status", "event"}


def test_many_seeds_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--seeds", "3", "--first", "5", "--for", "1m", "--jobs", "1", "--output", "json"]) == Exit.OK
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["first"], found["seeds"], found["violation"]) == (5, 3, None)
    assert "3 of 3" in captured.err


def test_a_broken_promise_is_told_made_short_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept"
    path = written(tmp_path, HOPELESS)
    assert run(["sim", "--scenario", path, "--shrink", "--save", str(kept)]) == Exit.FAILED
    captured = capsys.readouterr()
    assert "in the end all is as it was asked for" in captured.out
    assert "0 of" not in captured.out.splitlines()[0]
    assert f"outrider sim --scenario {kept / 'scenario.json'}" in captured.err
    short = msgspec.json.decode((kept / "scenario.json").read_bytes())
    assert [one["what"] for one in short["incidents"]] == ["apply"]
    kinds = {one["kind"] for one in yaml.safe_load_all((kept / "objects.yaml").read_text())}
    assert {"LLMDeployment", "Deployment", "Pod", "Node"} <= kinds
    assert run(["sim", "--scenario", str(kept / "scenario.json"), "--output", "json"]) == Exit.FAILED
    assert json.loads(capsys.readouterr().out)["violation"]["promise"] == "in the end all is as it was asked for"


def test_a_scenario_that_holds_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--scenario", written(tmp_path, draw(1, 60.0))]) == Exit.OK
    assert "every promise held" in capsys.readouterr().out


WRONG = {
    "nothing is asked for": ([], Exit.USAGE, "say one of --seed, --seeds, --scenario"),
    "two things are": (["--seed", "1", "--seeds", "2"], Exit.USAGE, "say one of"),
    "a time that is none": (["--seed", "1", "--for", "soon"], Exit.USAGE, "--for soon: must be a duration"),
    "no time at all": (["--seed", "1", "--for", "0s"], Exit.USAGE, "--for 0s: there must be some time"),
    "half a seed": (["--seed", "1.5"], Exit.USAGE, "--seed 1.5: must be a whole number"),
    "less than no seed": (["--seed", "-1"], Exit.USAGE, "seeds are 0 or more"),
    "no seeds": (["--seeds", "0"], Exit.USAGE, "--seeds 0: play at least one"),
    "no edits": (["--edits", "-1"], Exit.USAGE, "--edits -1: play at least one"),
    "fewer than no processes": (["--seeds", "1", "--jobs", "-2"], Exit.USAGE, "--jobs -2: 0 for one per core"),
    "a file that is not there": (["--scenario", "nowhere.json"], Exit.NOT_FOUND, "cannot read nowhere.json"),
    "a file that holds something else": (["--scenario", "pyproject.toml"], Exit.INVALID, "holds no scenario"),
}


BAD_FILES: dict[str, tuple[dict[str, Any], str]] = {
    "a word that is none": ({"seed": 1, "incidents": [], "nodez": 3}, "unknown field `nodez`"),
    "a time before the beginning": (
        {"seed": 1, "incidents": [{"what": "remove", "deployment": "llama", "at": -1}]},
        "`float` >= 0.0 - at `$.incidents[0].at`",
    ),
    "more than all calls": (
        {"seed": 1, "incidents": [{"what": "apitrouble", "at": 1, "seconds": 1, "how": "refused", "share": 7}]},
        "`float` <= 1.0 - at `$.incidents[0].share`",
    ),
    "nobody": ({"seed": 1, "incidents": [], "operators": 0}, "`int` >= 1 - at `$.operators`"),
    "fewer than no GPUs": ({"seed": 1, "incidents": [], "gpus": -8}, "`int` >= 0 - at `$.gpus`"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_scenario_that_makes_no_sense_is_refused(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written, message = BAD_FILES[what]
    path = tmp_path / "scenario.json"
    path.write_bytes(msgspec.json.encode(written))
    assert run(["sim", "--scenario", str(path)]) == Exit.INVALID
    assert message in capsys.readouterr().err


def test_what_the_server_refuses_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {**SPEC, "replicas": "two"}
    path = written(tmp_path, Scenario(seed=1, incidents=(Apply(at=1, deployment=NAME, spec=spec),)))
    run(["sim", "--scenario", path])
    assert "scenario    refused: " in capsys.readouterr().out


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_played_is_refused(
    what: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    arguments, code, message = WRONG[what]
    assert run(["sim", *arguments]) == code
    assert message in capsys.readouterr().err
