"""The operator dies after any call of a service's life: canary and blue-green releases."""

import crashed_lives
import pytest

from outrider.sim.crashes import BY_STEPS, LIVES

pytestmark = [pytest.mark.e2e, pytest.mark.long(minutes=2)]


@pytest.mark.parametrize("what", [what for what in LIVES if what in BY_STEPS])
def test_a_crash_after_any_call_of_a_services_life_changes_nothing_about_its_end(what: str) -> None:
    crashed_lives.check(what)
