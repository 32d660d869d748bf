"""A change of the Service for which nobody's requests go elsewhere makes no service look not ready."""

import pytest

from outrider.api.labels import REVISION
from outrider.api.llmdeployment import LLMDeployment
from outrider.api.meta import ObjectMeta
from outrider.api.parse import parse_spec
from outrider.plan.deployment import drift
from outrider.plan.deployment.observed import ServiceView
from outrider.plan.deployment.render import service_body

PORTS = (("http", 8080, "http"), ("metrics", 8081, "http"))
CASES: dict[str, tuple[str, str, str, tuple[tuple[str, int, str], ...], bool]] = {
    # what it selects, what it is to select, its name, its ports, whether it leads to "new" all the same
    "from the revision to every pod": ("new", "", "llama", PORTS, True),
    "from every pod to the revision": ("", "new", "llama", PORTS, True),
    "from every pod to every pod, as with a new label": ("", "", "llama", PORTS, True),
    "from another revision": ("old", "new", "llama", PORTS, False),
    "from another revision to every pod": ("old", "", "llama", PORTS, False),
    "to another revision": ("new", "old", "llama", PORTS, False),
    "with other ports": ("new", "", "llama", PORTS[:1], False),
    "that of another name": ("new", "", "other", PORTS, False),
}


@pytest.mark.parametrize("sentence", CASES)
def test_whether_requests_go_where_they_went(sentence: str) -> None:
    selects, wanted, name, ports, alike = CASES[sentence]
    owner = LLMDeployment(metadata=ObjectMeta(name="llama", namespace="production", uid="u"))
    parsed = parse_spec({"model": {"modelUri": "hf://m/m", "version": "v1"}}, name="llama", namespace="production")
    assert parsed.spec is not None
    body = service_body(owner, parsed.spec, "llama", wanted)
    selector = {key: value for key, value in body["spec"]["selector"].items() if key != REVISION}
    seen = ServiceView(name=name, selector=selector | ({REVISION: selects} if selects else {}), ports=ports)
    assert drift.leads_alike(body, seen, "new") is alike


def test_a_service_that_is_not_there_leads_nowhere() -> None:
    assert not drift.leads_alike({"kind": "Service", "metadata": {"name": "llama"}}, None, "new")
