"""What the command line says about an installation, put together with a values file and what is installed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from outrider.cli.errors import CliError, Exit
from outrider.cli.whole_numbers import WHOLE_NUMBER
from outrider.plan.install.settings import Installation, SettingsError, check


@Parameter(name="*")
@dataclass(frozen=True)
class Chosen:
    """The settings that the command line names. What it does not name stays as a values file or the cluster says."""

    image: str | None = None
    """The operator's image, with its tag or digest."""
    replicas: Annotated[int | None, WHOLE_NUMBER] = None
    """Pods of the operator."""
    watch_namespaces: str | None = None
    """The namespaces to look after, with commas; all of them without this."""
    gateway: str | None = None
    """NAMESPACE/NAME of the Gateway that requests come in through."""
    gateway_inside_url: str | None = None
    """http://HOST:PORT at which the operator reaches that Gateway, where it is not the one that people use."""
    gateway_metrics: tuple[str, ...] = ()
    """Metrics page of what implements that Gateway. May be repeated: one for each of its replicas."""
    inference_pool: bool | None = None
    """The Gateway sends requests to InferencePools: endpoint pickers may be set up."""
    crds: bool | None = None
    """Install the CustomResourceDefinitions and the roles for people. --no-crds where an administrator did."""
    cluster_roles: bool | None = None
    """--no-cluster-roles for an installation without any: it needs --watch-namespaces, and has no metrics endpoint."""
    service_monitor: bool | None = None
    """Let the Prometheus operator scrape the metrics."""
    values: tuple[Path, ...] = ()
    """File of settings, as the Helm chart's values.yaml. May be repeated."""

    def overrides(self) -> dict[str, Any]:
        """The options that were given, as values."""
        given: dict[str, Any] = {
            "image": self.image,
            "replicas": self.replicas,
            "watchNamespaces": _names(self.watch_namespaces),
            "gateway": self.gateway,
            "gatewayInsideUrl": self.gateway_inside_url,
            "gatewayMetrics": list(self.gateway_metrics) or None,
            "inferencePool": self.inference_pool,
            "crds": self.crds,
            "clusterRoles": self.cluster_roles,
            "serviceMonitor": self.service_monitor,
        }
        return {name: value for name, value in given.items() if value is not None}


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def settings_of(chosen: Chosen, base: Installation | None = None) -> Installation:
    """The settings: `base` (the defaults), the values files in their order, then the options.

    Raises:
        CliError: a file cannot be read, or the settings are none.
    """
    values: dict[str, Any] = msgspec.to_builtins(base or Installation())
    for path in chosen.values:
        values = merged(values, _read(path))
    try:
        settings = msgspec.convert(merged(values, chosen.overrides()), Installation)
        check(settings)
    except (msgspec.ValidationError, SettingsError) as error:
        source = ", ".join(str(path) for path in chosen.values) or "the options"
        raise CliError(f"{source}: {error}", exit_code=Exit.USAGE) from error
    return settings


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Maps are merged key by key, everything else is replaced, and null takes a key away: as Helm does it."""
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def _read(path: Path) -> dict[str, Any]:
    from outrider.cli.manifests import read_text
    from outrider.cli.strict_yaml import YamlError, load_all

    try:
        documents = load_all(read_text(path))
    except YamlError as error:
        raise CliError(f"{path}: not valid YAML: {error}", exit_code=Exit.INVALID) from error
    values = documents[0] if len(documents) == 1 else None
    if not documents or values is None:
        values = {}
    if len(documents) > 1 or not isinstance(values, dict):
        raise CliError(f"{path}: a values file is one mapping of settings", exit_code=Exit.INVALID)
    values.pop("global", None)  # Helm's own, and no setting
    return values
