"""Lives of a service in which the operator dies after every single call."""

from outrider.sim.crashes import crash_everywhere

TAKEN_BACK: dict[str, set[str]] = {
    "install, bad release that is taken back by itself, Git that insists, good release, delete": {"v1.1.0"},
    "install, canary whose GPU is lost, bad canary that is taken back, delete": {"v1.2.0"},
}
"""The versions that must have been taken back in the end, by life; in others none."""


def check(what: str) -> None:
    """Whatever call the operator dies after, no promise is broken, and the end is the same."""
    outcomes = {number: one for _, number, one in crash_everywhere([what], jobs=1)}
    assert 40 in outcomes, "the life is long enough to mean something"
    assert {number: one.violation for number, one in outcomes.items() if one.violation is not None} == {}
    for number, one in outcomes.items():
        assert one.taken_back == TAKEN_BACK.get(what, set()), f"{what}, killed after call {number}"
