"""Real Helm makes of the chart what `outrider install --output yaml` prints, whatever the values."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from helm_program import KUBERNETES, helm_or_skip
from install_cases import CASES

from outrider.plan.install.manifests import RECORD, manifests
from outrider.plan.install.settings import Installation, SettingsError

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "helm" / "outrider"
NAMESPACE = "outrider-system"


@pytest.fixture(scope="module")
def helm() -> str:
    return helm_or_skip()


def _rendered(helm: str, values: Path) -> subprocess.CompletedProcess[str]:
    command = [helm, "template", "a-release", str(CHART), "--namespace", NAMESPACE, "--values", str(values)]
    return subprocess.run([*command, *KUBERNETES], capture_output=True, text=True, check=False)


def _values(settings: Installation) -> dict[str, Any]:
    """As a values file says them: what a default has and these have not is taken away by null."""
    values: dict[str, Any] = msgspec.to_builtins(settings)
    for part, amounts in msgspec.to_builtins(Installation().resources).items():
        values["resources"][part] = dict.fromkeys(amounts) | values["resources"][part]
    return values


def _by_identity(objects: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in objects}
    assert len(found) == len(objects), "an object is there twice"
    return found


def _wanted(settings: Installation) -> dict[tuple[str, str, str], dict[str, Any]]:
    """All but what Helm has its own way for: the namespace is there before, and values are kept in the release."""
    objects = _by_identity(manifests(settings, NAMESPACE))
    del objects["Namespace", "", NAMESPACE]
    del objects["ConfigMap", NAMESPACE, RECORD]
    return objects


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
def test_helm_makes_the_objects_that_outrider_install_applies(settings, helm, tmp_path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(_values(settings)))
    done = _rendered(helm, values)
    assert done.returncode == 0, done.stderr
    made = _by_identity([one for one in yaml.safe_load_all(done.stdout) if one is not None])
    wanted = _wanted(settings)
    assert set(made) == set(wanted)
    for identity, body in wanted.items():
        assert made[identity] == body, identity


def test_the_charts_own_values_are_the_defaults(helm, tmp_path) -> None:
    (tmp_path / "none.yaml").write_text("")
    done = _rendered(helm, tmp_path / "none.yaml")
    made = _by_identity([one for one in yaml.safe_load_all(done.stdout) if one is not None])
    assert made == _wanted(Installation())


REFUSED = {
    "an unknown setting": ({"colour": "blue"}, "colour"),
    "a wrong type": ({"replicas": "two"}, "/replicas"),
    "no replicas": ({"replicas": 0}, "/replicas"),
    "a gateway without a namespace": ({"gateway": "public"}, "/gateway"),
    "a way to no gateway": ({"gatewayInsideUrl": "http://a:1"}, "is a way to the gateway"),
    "the counters of no gateway": ({"gatewayMetrics": ["http://a:1/metrics"]}, "is what the gateway counts"),
    "an unknown pull policy": ({"imagePullPolicy": "Sometimes"}, "/imagePullPolicy"),
    "the whole cluster without cluster roles": ({"clusterRoles": False}, "name the namespaces to look after"),
    "a ServiceMonitor without metrics": (
        {"clusterRoles": False, "watchNamespaces": ["a"], "serviceMonitor": True},
        "there is no metrics endpoint",
    ),
}


@pytest.mark.parametrize(("values", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_helm_refuses_the_values_that_outrider_install_refuses(values, said, helm, tmp_path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    done = _rendered(helm, path)
    assert done.returncode != 0
    assert said in done.stderr
    with pytest.raises((SettingsError, msgspec.ValidationError)):
        manifests(msgspec.convert(values, Installation), NAMESPACE)


def test_helm_finds_nothing_to_complain_about(helm) -> None:
    command = [helm, "lint", "--strict", str(CHART), *KUBERNETES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
