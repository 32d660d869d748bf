"""`nvidia-smi` for simulated GPUs: what people and scripts ask it, and how it answers."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from outrider.serving.nvidia_smi.__main__ import main
from outrider.serving.nvidia_smi.fields import FIELDS
from outrider.serving.nvidia_smi.state import STATE_VARIABLE, VISIBLE_VARIABLE, read_gpus
from outrider.serving.nvidia_smi.table import table

GOLDEN = Path(__file__).parents[1] / "golden" / "nvidia-smi.txt"
GPUS: list[dict[str, Any]] = [
    {"index": 0, "uuid": "GPU-aaaa0000-0000-0000-0000-000000000001", "product": "NVIDIA-A100-SXM4-40GB"},
    {"index": 1, "uuid": "GPU-aaaa0000-0000-0000-0000-000000000002", "product": "NVIDIA-A100-SXM4-40GB"},
    {
        "index": 2,
        "uuid": "GPU-aaaa0000-0000-0000-0000-000000000003",
        "product": "NVIDIA-H100-80GB-HBM3",
        "temperature.gpu": 96,
        "utilization.gpu": 100,
        "ecc.errors.uncorrected.volatile.total": 3,
    },
]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's file, and a container that sees all GPUs."""
    path = tmp_path / "gpus.json"
    path.write_text(json.dumps({"gpus": GPUS}))
    monkeypatch.setenv(STATE_VARIABLE, str(path))
    monkeypatch.setenv(VISIBLE_VARIABLE, "all")
    return path


INVALID = "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n\n"
ANSWERS: dict[str, tuple[str, str, int, str]] = {
    "the guide's query": (
        "all",
        "--query-gpu=temperature.gpu,power.draw,memory.used --format=csv,noheader,nounits",
        0,
        "36, 140.00, 36864\n37, 140.00, 36864\n96, 245.00, 73403\n",
    ),
    "with units and a header": (
        "0",
        "--query-gpu=name,power.draw,memory.total,utilization.gpu,fan.speed --format=csv",
        0,
        (
            "name, power.draw [W], memory.total [MiB], utilization.gpu [%], fan.speed [%]\n"
            "NVIDIA A100-SXM4-40GB, 140.00 W, 40960 MiB, 0 %, [N/A]\n"
        ),
    ),
    "a container's GPUs are counted from 0": (
        "1,2",
        "--query-gpu=index,uuid --format=csv,noheader",
        0,
        "0, GPU-aaaa0000-0000-0000-0000-000000000002\n1, GPU-aaaa0000-0000-0000-0000-000000000003\n",
    ),
    "visible by UUID": (
        "GPU-aaaa0000-0000-0000-0000-000000000003",
        "--query-gpu=name --format=csv,noheader",
        0,
        "NVIDIA H100 80GB HBM3\n",
    ),
    "a list": (
        "2",
        "-L",
        0,
        "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa0000-0000-0000-0000-000000000003)\n",
    ),
    "one of them": ("all", "-i 1 --query-gpu=index --format=csv,noheader", 0, "1\n"),
    "one that is not there": ("0", "-i 7", 6, "No devices were found\n"),
    "a container without GPUs": ("void", "", 6, "No devices were found\n"),
    "a field that there is not": (
        "all",
        "--query-gpu=index,colour --format=csv",
        2,
        'Field "colour" is not a valid field to query.\n\n',
    ),
    "a query without a format": (
        "all",
        "--query-gpu=index",
        2,
        "--query-gpu needs --format=csv[,noheader][,nounits]\n",
    ),
    "an option that there is not": (
        "all",
        "--reboot",
        2,
        "Option --reboot is not recognized. Please run 'nvidia-smi -h'.\n",
    ),
    "an option without its value": ("all", "--query-gpu", 2, INVALID + "argument --query-gpu: expected one argument\n"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answers(case: str, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    visible, arguments, code, output = ANSWERS[case]
    monkeypatch.setenv(VISIBLE_VARIABLE, visible)
    assert (main(arguments.split()), capsys.readouterr().out) == (code, output)


def test_a_fault_shows_as_soon_as_it_is_written(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = ["--query-gpu=temperature.gpu,memory.used,memory.free", "--format=csv,noheader,nounits", "-i", "0"]
    main(query)
    hot = {**GPUS[0], "temperature.gpu": 91, "memory.used": 40000}
    state.write_text(json.dumps({"gpus": [hot, *GPUS[1:]]}))
    main(query)
    assert capsys.readouterr().out == "36, 36864, 4096\n91, 40000, 960\n"
    state.write_text(json.dumps({"gpus": [{**GPUS[0], "lost": True}, *GPUS[1:]]}))
    assert main([]) == 15
    lost = "GPU0000:10:00.0: GPU is lost.  Reboot the system to recover this GPU\n"
    assert capsys.readouterr().out == f"Unable to determine the device handle for {lost}"
    assert main(["-i", "1", "-L"]) == 0


def test_every_field_has_an_answer(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert {len(row.split(", ")) for row in rows} == {len(FIELDS)}
    assert main(["--help-query-gpu"]) == 0
    assert '"temperature.gpu"' in capsys.readouterr().out


BROKEN = {"no file": None, "no JSON": "{", "no GPUs": "{}", "a GPU without a number": '{"gpus": [{"uuid": "x"}]}'}


@pytest.mark.parametrize("case", BROKEN)
def test_a_state_that_cannot_be_read_is_said_to_be(case: str, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = BROKEN[case]
    state.unlink() if text is None else state.write_text(text)
    assert main([]) == 9
    assert str(state) in capsys.readouterr().out


def test_the_table(state: Path, request: pytest.FixtureRequest) -> None:
    text = table(read_gpus(), datetime(2026, 11, 25, 12, 0, tzinfo=UTC)) + "\n"
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), f"{GOLDEN} differs; if that is meant, run pytest with --update-golden"
    assert {len(line) for line in text.splitlines()} == {91}
