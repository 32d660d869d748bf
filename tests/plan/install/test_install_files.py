"""What is generated from an installation is in the repository as it is generated now."""

from pathlib import Path

import pytest
import yaml

from outrider.plan.install.chart import chart_files
from outrider.plan.install.manifests import manifests
from outrider.plan.install.pages import documents, install_yaml, permissions_page
from outrider.plan.install.settings import Installation

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "helm" / "outrider"
SAID = "run `make generate`"


@pytest.mark.parametrize("path", sorted(chart_files()))
def test_a_file_of_the_chart_is_up_to_date(path) -> None:
    assert (CHART / path).read_text() == chart_files()[path], SAID


def test_the_chart_has_no_other_files() -> None:
    found = {str(path.relative_to(CHART)) for path in CHART.rglob("*") if path.is_file()}
    assert found == set(chart_files())


def test_install_yaml_is_up_to_date() -> None:
    assert (ROOT / "deploy" / "install.yaml").read_text() == install_yaml(), SAID


def test_the_page_of_permissions_is_up_to_date() -> None:
    assert (ROOT / "docs" / "guide" / "permissions.md").read_text() == permissions_page(), SAID


def test_install_yaml_holds_what_outrider_install_applies() -> None:
    assert list(yaml.safe_load_all(install_yaml())) == manifests(Installation(), "outrider-system")


def test_a_stream_of_documents_reads_back_as_the_objects() -> None:
    objects = manifests(Installation(gateway="infra/public", watch_namespaces=("a", "b")), "tenant")
    assert list(yaml.safe_load_all(documents(objects))) == objects
