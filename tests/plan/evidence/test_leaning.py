"""When a step waits because the version looks worse, although nothing is proven."""

import pytest

from outrider.plan.evidence import Counts
from outrider.plan.evidence.leaning import looks_worse

CASES: dict[str, tuple[Counts, Counts, bool]] = {
    "nothing was counted": (Counts(0, 0), Counts(0, 400), False),
    "none was bad": (Counts(0, 20), Counts(0, 400), False),
    "one of twenty may be chance": (Counts(1, 20), Counts(0, 400), False),
    "two of twenty are hardly chance": (Counts(2, 20), Counts(0, 400), True),
    "all are bad": (Counts(3, 3), Counts(0, 400), True),
    "as bad as the old one": (Counts(30, 100), Counts(120, 400), False),
    "a little worse, within the margin": (Counts(14, 1000), Counts(40, 4000), False),
    "twice as bad as the old one, of many": (Counts(60, 1000), Counts(120, 4000), True),
    "the old one was hardly asked": (Counts(3, 20), Counts(0, 1), False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_version_looks_worse(case: str) -> None:
    candidate, stable, expected = CASES[case]
    assert looks_worse(candidate, stable, 0.005) is expected
