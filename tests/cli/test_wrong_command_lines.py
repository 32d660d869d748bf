"""Every wrong command line of tests/golden/wrong-input is answered as the table says: what is wrong, what to do.

After a change of a message: `pytest tests/cli/test_wrong_command_lines.py --update-golden`, then read `git diff`.
"""

import shlex

import pytest
from wrong_input import WrongCommand, command_lines, write_command_lines

from outrider.cli.errors import Exit

ROWS = command_lines()
SERVICE = """
apiVersion: inference.llm-d.io/v1alpha1
kind: LLMDeployment
metadata: {name: llama, namespace: production}
spec: {model: {modelUri: "hf://meta-llama/Llama-3.1-8B-Instruct", version: v1.2.0}}
"""


@pytest.fixture(scope="module")
def answered(request: pytest.FixtureRequest):
    told: dict[str, WrongCommand] = {}
    yield told
    if request.config.getoption("--update-golden"):
        write_command_lines({**ROWS, **told})


@pytest.mark.parametrize("sentence", ROWS)
def test_a_wrong_command_line_is_answered_in_these_words(sentence: str, outrider, tmp_path, answered, request) -> None:
    (tmp_path / "llama.yaml").write_text(SERVICE)
    assert outrider("apply", "--filename", str(tmp_path / "llama.yaml"))[0] == Exit.OK
    row = ROWS[sentence]
    code, out, told = outrider(*shlex.split(row.run))
    told = told.replace(str(tmp_path), "FOLDER")
    if request.config.getoption("--update-golden"):
        answered[sentence] = WrongCommand(run=row.run, exit=code, says=told)
        return
    assert (told, code) == (row.says, row.exit)
    assert out == ""
    assert told.startswith("error: ")
    assert code not in (Exit.OK, Exit.FAILED)
