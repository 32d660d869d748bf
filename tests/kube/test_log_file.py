"""Where the log goes, and what becomes of those who log when it cannot."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from outrider.kube.log import configure_logging


@pytest.fixture(autouse=True)
def structlog_as_it_was() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_every_line_is_an_object(tmp_path: Path) -> None:
    path = tmp_path / "outrider.log"
    configure_logging(path)
    structlog.get_logger().info("reconciled", name="läma")
    line = json.loads(path.read_text())
    assert (line["event"], line["name"], line["level"]) == ("reconciled", "läma", "info")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_full_disk_costs_lines_and_not_the_work_that_they_tell_of() -> None:
    configure_logging(Path("/dev/full"))
    structlog.get_logger().warning("this line is lost")
