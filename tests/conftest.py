"""What all tests share."""

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are drawn says how busy the machine is, and nothing of the code.
settings.register_profile("without a clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without a clock")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first. Left to itself the distribution by files begins with those of the most tests."""
    items.sort(key=lambda item: -max((mark.kwargs["minutes"] for mark in item.iter_markers("long")), default=0))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files anew instead of comparing with them"
    )
