"""The objects of an installation, in the default case and in others, and what must hold of all of them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from install_cases import CASES

from outrider.plan.install.manifests import manifests, record, recorded
from outrider.plan.install.permissions import PERMISSIONS
from outrider.plan.install.settings import Installation, SettingsError

GOLDEN = Path(__file__).parents[2] / "golden" / "install"


def _without_crds(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in objects if one["kind"] != "CustomResourceDefinition"]


@pytest.mark.parametrize("sentence", CASES)
def test_the_objects_are_those_of_the_golden_file(sentence, request) -> None:
    made = yaml.safe_dump_all(_without_crds(manifests(CASES[sentence], "outrider-system")), sort_keys=False, width=120)
    path = GOLDEN / f"{sentence.replace(' ', '-').replace(',', '')}.yaml"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made)
    assert made == path.read_text()


def _one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [one for one in objects if one["kind"] == kind]
    return found


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
def test_the_operator_keeps_to_the_restricted_pod_security_standard(settings) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    pod = _one(manifests(settings, "outrider-system"), "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all(set(volume) - {"name"} <= {"emptyDir"} for volume in pod["volumes"])
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
def test_selectors_select_the_operators_pods(settings) -> None:
    objects = manifests(settings, "outrider-system")
    labels = _one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        _one(objects, "Deployment")["spec"]["selector"],
        _one(objects, "PodDisruptionBudget")["spec"]["selector"],
    ]
    selectors += [one["spec"]["podSelector"] for one in objects if one["kind"] == "NetworkPolicy"]
    services = [one for one in objects if one["kind"] == "Service"]
    selectors += [{"matchLabels": one["spec"]["selector"]} for one in services]
    assert all(selector["matchLabels"].items() <= labels for selector in selectors)
    monitors = [one for one in objects if one["kind"] == "ServiceMonitor"]
    for monitor in monitors:
        assert monitor["spec"]["selector"]["matchLabels"].items() <= services[0]["metadata"]["labels"].items()


def test_without_cluster_roles_nothing_is_cluster_scoped_but_the_namespace() -> None:
    objects = manifests(CASES["no cluster-scoped object at all"], "team-a")
    assert [one["kind"] for one in objects if "namespace" not in one["metadata"]] == ["Namespace"]


def test_every_role_is_bound_to_the_operators_account_in_its_own_namespace() -> None:
    objects = manifests(CASES["two namespaces of a tenant, behind a gateway"], "outrider-system")
    roles = {
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"])
        for one in objects
        if one["kind"] in ("Role", "ClusterRole")
        and one["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"
    }
    bindings = [one for one in objects if one["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    assert {
        (one["roleRef"]["kind"], one["metadata"].get("namespace"), one["roleRef"]["name"]) for one in bindings
    } == roles
    account = {"kind": "ServiceAccount", "name": "outrider-operator", "namespace": "outrider-system"}
    assert all(one["subjects"] == [account] for one in bindings)


def test_the_operator_reads_no_secret_and_starts_nothing_in_pods() -> None:
    resources = {one.resource for one in PERMISSIONS}
    assert not {"secrets", "pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token", "*"} & resources
    assert not any("*" in (one.group, *one.verbs) for one in PERMISSIONS)


def test_no_permission_is_listed_twice() -> None:
    listed = [(one.scope, one.group, one.resource, one.names, verb) for one in PERMISSIONS for verb in one.verbs]
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
def test_a_record_gives_the_settings_back(settings) -> None:
    written = record(settings, "outrider-system")["data"]
    assert manifests(recorded(written), "n") == manifests(settings, "n")


def test_a_record_of_another_version_is_read_as_far_as_it_is_known() -> None:
    assert recorded({"replicas": "3", "colour": '"blue"'}) == Installation(replicas=3)
    with pytest.raises(SettingsError):
        recorded({"replicas": '"three"'})


WRONG = {
    "cluster roles are needed to look after all namespaces": (
        Installation(cluster_roles=False),
        "name the namespaces to look after",
    ),
    "a ServiceMonitor needs something to scrape": (
        Installation(cluster_roles=False, watch_namespaces=("a",), service_monitor=True),
        "there is no metrics endpoint",
    ),
    "a namespace is watched once": (Installation(watch_namespaces=("a", "a")), "names a namespace twice"),
    "a namespace has a namespace's name": (Installation(watch_namespaces=("A b",)), "'A b' is no name"),
    "what no gateway counts": (Installation(gateway_metrics=("http://a:1/metrics",)), "name it \\(gateway\\)"),
    "a page needs an address": (
        Installation(gateway="infra/public", gateway_metrics=("a:1/metrics",)),
        "'a:1/metrics' is not http://HOST:PORT/PATH",
    ),
    "pages are named one by one": (
        Installation(gateway="infra/public", gateway_metrics=("http://a:1/m,http://b:1/m",)),
        "one by one, without commas",
    ),
    "a way to no gateway": (Installation(gateway_inside_url="http://a:1"), "name it \\(gateway\\)"),
    "a way to a gateway is a URL": (
        Installation(gateway="infra/public", gateway_inside_url="a:1"),
        "'a:1' is not http://HOST:PORT",
    ),
    "a gateway too": (Installation(gateway="infra/Public"), "'Public' is no name"),
}


@pytest.mark.parametrize(("settings", "said"), WRONG.values(), ids=WRONG.keys())
def test_settings_that_cannot_be_are_refused(settings, said) -> None:
    with pytest.raises(SettingsError, match=said):
        manifests(settings, "outrider-system")
