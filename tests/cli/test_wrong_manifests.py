"""Every bad manifest of tests/golden/wrong-input gets the message that the table says, and changes nothing.

After a change of a message: `pytest tests/cli/test_wrong_manifests.py --update-golden`, then read `git diff`.
"""

import re
from pathlib import Path

import msgspec
import pytest
from wrong_input import TABLE, Wrong, table, write_table

from outrider.cli.errors import Exit

ROWS = table()
_SAYS_WHAT_TO_DO = re.compile(
    r"(Invalid value: .+|Required value|Forbidden|is not an indicator|line \d+, column \d+: .+): ."
    r"|\n  (did you mean|it handles|create it)"
)


@pytest.fixture(scope="module", autouse=True)
def _written_anew(request: pytest.FixtureRequest):
    told: dict[str, str] = {}
    request.module.TOLD = told
    yield
    if request.config.getoption("--update-golden"):
        write_table({name: msgspec.structs.replace(row, says=told.get(name, row.says)) for name, row in ROWS.items()})


def test_where_a_server_says_something_else_than_the_cli_the_table_has_the_reason() -> None:
    unexplained = [name for name, row in ROWS.items() if (row.local, row.cluster) != (None, None) and not row.because]
    assert unexplained == []


@pytest.mark.parametrize("sentence", ROWS)
def test_a_bad_manifest_is_refused_in_these_words(sentence: str, outrider, tmp_path: Path, request) -> None:
    row: Wrong = ROWS[sentence]
    file = tmp_path / "manifest.yaml"
    file.write_text(row.text, encoding="utf-8")
    code, out, told = outrider("apply", "--filename", str(file))
    told = told.replace(str(file), "FILE")
    if request.config.getoption("--update-golden"):
        request.module.TOLD[sentence] = told
        return
    assert told == row.says, f"{TABLE} differs; if that is meant, run pytest with --update-golden"
    assert out == "", "nothing is applied"
    assert code in (Exit.INVALID, Exit.NOT_FOUND)
    assert outrider("get", "llmd", "--all-namespaces")[1] == "No llmdeployments found.\n"


def test_every_message_says_where_what_and_what_to_do() -> None:
    for sentence, row in ROWS.items():
        for line in row.says.splitlines():
            assert "Invalid value: " not in line or line.count(": ") >= 3, f"{sentence}: {line}"
        assert _SAYS_WHAT_TO_DO.search(row.says), sentence
