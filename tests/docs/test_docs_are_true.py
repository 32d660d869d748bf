"""What the documentation says exists."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])


def test_the_field_reference_is_up_to_date() -> None:
    render = runpy.run_path(str(ROOT / "tools" / "generate_docs.py"))["render"]
    assert (ROOT / "docs" / "guide" / "fields.md").read_text() == render(), "run: make generate"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(page: Path) -> None:
    for name in re.findall(r"`((?:examples|docs|deploy|tests|bench|tools)/[\w./-]+\.\w+)`", page.read_text()):
        assert (ROOT / name).exists(), name
