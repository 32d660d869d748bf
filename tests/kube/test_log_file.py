"""Where the log goes, and what becomes of those who log when it cannot."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from outrider.kube.log import configure_logging


@pytest.fixture(autouse=True)
def structlog_as_it_was() -> Iterator[None]:
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


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


FORMATS = {"json": '"event": "from a library"', "text": "from a library"}


@pytest.mark.parametrize("log_format", FORMATS)
def test_what_libraries_log_comes_out_in_the_same_form(log_format: Any, tmp_path: Path) -> None:
    configure_logging(tmp_path / "log", log_format=log_format)
    logging.getLogger("some.library").warning("from a library")
    logging.getLogger("some.library").info("too much")
    structlog.get_logger().info("from us", number=1)
    said = (tmp_path / "log").read_text()
    assert FORMATS[log_format] in said
    assert "too much" not in said
    assert "from us" in said
