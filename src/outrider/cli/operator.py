"""`outrider operator`: the process that a cluster runs."""

import asyncio
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from outrider.api.urls import is_http_url
from outrider.cli.errors import CliError, Exit
from outrider.cli.waiting import seconds
from outrider.cli.whole_numbers import WHOLE_NUMBER

if TYPE_CHECKING:
    from outrider.controllers.config import GatewayConfig, OperatorConfig
    from outrider.controllers.process import Address, LeaderElectionSettings, ProcessSettings
    from outrider.kube.kubeconfig import ClusterConfig

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_NO_NAMESPACE = "outrider-system"
"""Where the operator is installed, unless it is told of another place."""
_NAMESPACES = ("--namespaces", "--namespace", "--watch-namespaces", "-n")


def operator(
    *,
    kubeconfig: Path | None = None,
    context: Annotated[str | None, Parameter(env_var="OUTRIDER_CONTEXT")] = None,
    namespaces: Annotated[
        list[str] | None,
        Parameter(
            name=["--namespaces", "--namespace", "--watch-namespaces", "-n"], env_var="OUTRIDER_NAMESPACES", negative=""
        ),
    ] = None,
    gateway: Annotated[str, Parameter(env_var="OUTRIDER_GATEWAY")] = "",
    base_url: Annotated[str, Parameter(env_var="OUTRIDER_BASE_URL")] = "",
    request_timeout: Annotated[str, Parameter(env_var="OUTRIDER_REQUEST_TIMEOUT")] = "0s",
    gateway_inside_url: Annotated[str, Parameter(env_var="OUTRIDER_GATEWAY_INSIDE_URL")] = "",
    gateway_metrics: Annotated[list[str] | None, Parameter(env_var="OUTRIDER_GATEWAY_METRICS", negative="")] = None,
    inference_pool: Annotated[bool, Parameter(env_var="OUTRIDER_INFERENCE_POOL", negative="")] = False,
    picker_image: Annotated[str | None, Parameter(env_var="OUTRIDER_PICKER_IMAGE")] = None,
    picker_tls: Annotated[bool, Parameter(env_var="OUTRIDER_PICKER_TLS")] = True,
    monitor_labels: Annotated[list[str] | None, Parameter(env_var="OUTRIDER_MONITOR_LABELS", negative="")] = None,
    engine_image: Annotated[str | None, Parameter(env_var="OUTRIDER_ENGINE_IMAGE")] = None,
    probe_interval: Annotated[str, Parameter(env_var="OUTRIDER_PROBE_INTERVAL")] = "10s",
    drain_seconds: Annotated[int | None, WHOLE_NUMBER, Parameter(env_var="OUTRIDER_DRAIN_SECONDS")] = None,
    concurrency: Annotated[int, WHOLE_NUMBER, Parameter(env_var="OUTRIDER_CONCURRENCY")] = 4,
    leader_elect: Annotated[bool, Parameter(env_var="OUTRIDER_LEADER_ELECT")] = True,
    leader_elect_resource_name: Annotated[
        str, Parameter(env_var="OUTRIDER_LEADER_ELECT_RESOURCE_NAME")
    ] = "outrider-operator",
    leader_elect_resource_namespace: Annotated[str, Parameter(env_var="OUTRIDER_LEADER_ELECT_RESOURCE_NAMESPACE")] = "",
    leader_elect_lease_duration: Annotated[str, Parameter(env_var="OUTRIDER_LEADER_ELECT_LEASE_DURATION")] = "15s",
    leader_elect_renew_deadline: Annotated[str, Parameter(env_var="OUTRIDER_LEADER_ELECT_RENEW_DEADLINE")] = "10s",
    leader_elect_retry_period: Annotated[str, Parameter(env_var="OUTRIDER_LEADER_ELECT_RETRY_PERIOD")] = "2s",
    health_address: Annotated[str, Parameter(env_var="OUTRIDER_HEALTH_ADDRESS")] = ":8081",
    metrics_address: Annotated[str, Parameter(env_var="OUTRIDER_METRICS_ADDRESS")] = ":8443",
    metrics_insecure: Annotated[bool, Parameter(env_var="OUTRIDER_METRICS_INSECURE", negative="")] = False,
    metrics_certificate: Annotated[Path | None, Parameter(env_var="OUTRIDER_METRICS_CERTIFICATE")] = None,
    metrics_key: Annotated[Path | None, Parameter(env_var="OUTRIDER_METRICS_KEY")] = None,
    log_format: Annotated[Literal["json", "text"] | None, Parameter(env_var="OUTRIDER_LOG_FORMAT")] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Parameter(env_var="OUTRIDER_LOG_LEVEL")
    ] = "info",
) -> int:
    """Run the operator on a cluster, as its pods do. It runs until SIGTERM or Ctrl-C; a second one ends it at once.

    In a pod it uses the pod's service account; elsewhere the kubeconfig that kubectl would use.

    Parameters
    ----------
    kubeconfig
        Path of a kubeconfig file. Default: as kubectl; in a pod, its service account.
    context
        Context of the kubeconfig to use.
    namespaces
        Namespaces to look after, separated by commas or given several times. Default: all.
    gateway
        The Gateway that routes are attached to, as NAMESPACE/NAME; or NAME, for one in each service's own namespace.
        Default: none, and no routes.
    base_url
        Address of the Gateway as people outside see it, for `status.url`. Default: what the Gateway's status tells.
    request_timeout
        How long an answer may take, as Gateway API writes it; 0s for any time. Empty: not written into routes.
    gateway_inside_url
        Address of the Gateway as the operator itself reaches it, for its requests to a candidate through it. Default:
        the one that people use.
    gateway_metrics
        Metrics page of what implements the Gateway, Traefik or Outrider's own: one for each replica, separated by
        commas or given several times. What only the Gateway knows is then evidence of a release. Default: none.
    inference_pool
        The Gateway sends requests to InferencePools: set up endpoint pickers for services that ask for one.
    picker_image
        Image of endpoint pickers.
    picker_tls
        The Gateway expects TLS of endpoint pickers. Without: plain text, as agentgateway expects it.
    monitor_labels
        Labels of ServiceMonitors, as KEY=VALUE, where a Prometheus chooses them by label.
    engine_image
        Image of the engine where a spec names none.
    probe_interval
        Time between real requests to each ready replica.
    drain_seconds
        How long a replica serves on after it has left the endpoints: at least as long as proxies take to learn of it.
    concurrency
        LLMDeployments that are reconciled at the same time.
    leader_elect
        Work only while holding a Lease, so that several replicas can run.
    leader_elect_resource_name
        Name of the Lease.
    leader_elect_resource_namespace
        Namespace of the Lease. Default: the operator's own.
    leader_elect_lease_duration
        How long others wait before they take over from a leader that is silent.
    leader_elect_renew_deadline
        How long after its last renewal a leader may act.
    leader_elect_retry_period
        Time between renewals, and between looks of those that stand by.
    health_address
        Where /healthz and /readyz are served. 0: nowhere.
    metrics_address
        Where /metrics is served, over HTTPS, to those whom RBAC lets get /metrics. 0: nowhere.
    metrics_insecure
        Serve /metrics over HTTP to everybody who can reach it. Only for loopback addresses.
    metrics_certificate
        Certificate (PEM) of the metrics endpoint. Default: a self-signed one.
    metrics_key
        Key (PEM) of that certificate.
    log_format
        How to log. Default: text on a terminal, else json.
    log_level
        What to log.
    """
    from outrider.kube.lease import LeaseTimings
    from outrider.kube.log import configure_logging

    cluster = _cluster(kubeconfig, context)
    own = _own_namespace(cluster)
    election = None
    if leader_elect:
        try:
            timings = LeaseTimings(
                seconds(leader_elect_lease_duration, "--leader-elect-lease-duration"),
                seconds(leader_elect_renew_deadline, "--leader-elect-renew-deadline"),
                seconds(leader_elect_retry_period, "--leader-elect-retry-period"),
            )
        except ValueError as error:
            raise CliError(f"--leader-elect: {error}", exit_code=Exit.USAGE) from error
        election = _election(leader_elect_resource_name, leader_elect_resource_namespace or own, timings)
    settings = _settings(
        own, election, health_address, metrics_address, metrics_certificate, metrics_key, insecure=metrics_insecure
    )
    config = _operator_config(
        _split(namespaces or ()), _gateway(gateway, base_url), engine_image, probe_interval, drain_seconds, concurrency
    )
    config = _with_extras(
        config,
        request_timeout=request_timeout,
        gateway_inside_url=gateway_inside_url,
        gateway_metrics=gateway_metrics or (),
        inference_pool=inference_pool,
        picker_image=picker_image,
        picker_tls=picker_tls,
        monitor_labels=monitor_labels or (),
    )
    chosen = log_format or ("text" if sys.stderr.isatty() else "json")
    configure_logging(level=_LEVELS[log_level], log_format=chosen)
    return asyncio.run(_run(cluster, config, settings))


def _cluster(kubeconfig: Path | None, context: str | None) -> "ClusterConfig":
    from outrider.kube.kubeconfig import KubeconfigError, load_cluster_config

    try:
        paths = [kubeconfig] if kubeconfig is not None else None
        return load_cluster_config(paths, context=context)
    except KubeconfigError as error:
        raise CliError(str(error), exit_code=Exit.UNREACHABLE) from error


def _own_namespace(cluster: "ClusterConfig") -> str:
    """The namespace that this process is in: what its pod is told, else what its service account says."""
    from outrider.kube.kubeconfig import SERVICE_ACCOUNT

    if named := os.environ.get("POD_NAMESPACE"):
        return named
    inside = cluster.token_file is not None and SERVICE_ACCOUNT in cluster.token_file.parents
    return cluster.namespace if inside and cluster.namespace else _NO_NAMESPACE


def _pod_name() -> str:
    return os.environ.get("POD_NAME") or socket.gethostname()


def _election(name: str, namespace: str, timings: "object") -> "LeaderElectionSettings":
    from outrider.controllers.process import LeaderElectionSettings
    from outrider.kube.lease import LeaseTimings

    assert isinstance(timings, LeaseTimings)
    # A container that starts again in the same pod is another process, and must wait for the lease of the one before.
    identity = f"{_pod_name()}_{uuid.uuid4()}"
    return LeaderElectionSettings(namespace=namespace, identity=identity, name=name, timings=timings)


def _settings(
    namespace: str,
    election: "LeaderElectionSettings | None",
    health: str,
    metrics: str,
    certificate: Path | None,
    key: Path | None,
    *,
    insecure: bool,
) -> "ProcessSettings":
    from outrider.controllers.process import ProcessSettings

    metrics_address = _address("--metrics-address", metrics)
    if insecure and metrics_address is not None and not metrics_address.loopback:
        raise CliError(
            f"--metrics-insecure: {metrics} can be reached by others, to whom it would tell everything",
            exit_code=Exit.USAGE,
            hints=("listen on loopback:  --metrics-address 127.0.0.1:8080",),
        )
    if (certificate is None) != (key is None):
        raise CliError("--metrics-certificate and --metrics-key are given together", exit_code=Exit.USAGE)
    return ProcessSettings(
        namespace=namespace,
        election=election,
        health=_address("--health-address", health),
        metrics=metrics_address,
        metrics_insecure=insecure,
        metrics_certificate=(certificate, key) if certificate is not None and key is not None else None,
    )


def _address(option: str, text: str) -> "Address | None":
    from outrider.controllers.process import Address

    if text == "0":
        return None
    try:
        return Address.parse(text)
    except ValueError as error:
        raise CliError(f"{option} {text}: {error}", exit_code=Exit.USAGE) from error


def _operator_config(
    namespaces: tuple[str, ...],
    gateway: "GatewayConfig | None",
    engine_image: str | None,
    probe_interval: str,
    drain_seconds: int | None,
    concurrency: int,
) -> "OperatorConfig":
    from outrider.controllers.config import OperatorConfig

    interval = seconds(probe_interval, "--probe-interval")
    if interval < 1:
        raise CliError(f"--probe-interval {probe_interval}: choose at least 1s", exit_code=Exit.USAGE)
    if concurrency < 1:
        raise CliError(f"--concurrency {concurrency}: choose at least 1", exit_code=Exit.USAGE)
    if drain_seconds is not None and drain_seconds < 0:
        raise CliError(f"--drain-seconds {drain_seconds}: choose 0 or more", exit_code=Exit.USAGE)
    defaults = OperatorConfig()
    return OperatorConfig(
        engine_image=engine_image or defaults.engine_image,
        gateway=gateway,
        drain_seconds=defaults.drain_seconds if drain_seconds is None else drain_seconds,
        namespaces=namespaces,
        probe_interval=interval,
        concurrency=concurrency,
        identity=_pod_name(),
    )


def _gateway(gateway: str, base_url: str) -> "GatewayConfig | None":
    from outrider.controllers.config import GatewayConfig

    if not gateway:
        if base_url:
            raise CliError("--base-url is the address of a Gateway: name it with --gateway", exit_code=Exit.USAGE)
        return None
    namespace, _, name = gateway.rpartition("/")
    if not name or "/" in namespace:
        raise CliError(f"--gateway {gateway}: must be NAMESPACE/NAME or NAME", exit_code=Exit.USAGE)
    return GatewayConfig(name=name, namespace=namespace, base_url=base_url.rstrip("/"))


def _with_extras(
    config: "OperatorConfig",
    *,
    request_timeout: str,
    gateway_inside_url: str,
    gateway_metrics: Sequence[str],
    inference_pool: bool,
    picker_image: str | None,
    picker_tls: bool,
    monitor_labels: Sequence[str],
) -> "OperatorConfig":
    """What a Gateway and a Prometheus of this cluster want to be told."""
    if inference_pool and config.gateway is None:
        raise CliError("--inference-pool says what a Gateway can do: name it with --gateway", exit_code=Exit.USAGE)
    pages = _split(gateway_metrics)
    if pages and config.gateway is None:
        raise CliError("--gateway-metrics is what a Gateway counts: name it with --gateway", exit_code=Exit.USAGE)
    if gateway_inside_url and config.gateway is None:
        raise CliError("--gateway-inside-url is a way to a Gateway: name it with --gateway", exit_code=Exit.USAGE)
    if gateway_inside_url and not is_http_url(gateway_inside_url):
        raise CliError(f"--gateway-inside-url {gateway_inside_url}: must be http://HOST:PORT", exit_code=Exit.USAGE)
    if wrong_pages := [url for url in pages if not is_http_url(url)]:
        raise CliError(f"--gateway-metrics {wrong_pages[0]}: must be http://HOST:PORT/PATH", exit_code=Exit.USAGE)
    pairs = [text.partition("=") for text in _split(monitor_labels)]
    if wrong := [key for key, equals, _ in pairs if not equals or not key]:
        raise CliError(f"--monitor-labels {wrong[0]}: must be KEY=VALUE", exit_code=Exit.USAGE)
    gateway = config.gateway
    if gateway is not None:
        gateway = replace(
            gateway,
            inside_url=gateway_inside_url,
            metrics_urls=pages,
            request_timeout=request_timeout,
            inference_pool=inference_pool,
            picker_tls=picker_tls,
        )
    return replace(
        config,
        gateway=gateway,
        picker_image=picker_image or config.picker_image,
        monitor_labels={key: value for key, _, value in pairs},
    )


def _split(values: Sequence[str]) -> tuple[str, ...]:
    names = [part.strip() for value in values for part in value.split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


async def _run(cluster: "ClusterConfig", config: "OperatorConfig", settings: "ProcessSettings") -> int:
    import structlog

    from outrider.controllers.process import OperatorProcess, StartupFailed
    from outrider.kube.clock import SystemClock
    from outrider.kube.kubeconfig import KubeconfigError
    from outrider.kube.lease import LeaseLost

    log = structlog.get_logger(__name__)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    running = asyncio.ensure_future(OperatorProcess(cluster, SystemClock(), config, settings).run(stop))

    def end(number: int) -> None:
        log.info("asked to end", signal=signal.Signals(number).name, again=stop.is_set())
        if stop.is_set():
            running.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    try:
        await running
    except asyncio.CancelledError:
        return Exit.INTERRUPTED
    except (LeaseLost, StartupFailed, KubeconfigError, OSError) as error:
        return _ended_by(error)
    return Exit.OK


def _ended_by(error: Exception) -> int:
    """Log why the process ends, and give the exit code that says so."""
    import structlog

    from outrider.controllers.process import StartupFailed
    from outrider.kube.lease import LeaseLost

    log = structlog.get_logger(__name__)
    if isinstance(error, LeaseLost):
        log.error("ended: another process may lead now", error=error.message)
        return Exit.LEASE_LOST
    if isinstance(error, StartupFailed):
        log.error(error.message, hints=error.hints)
        return Exit.UNREACHABLE if error.unreachable else Exit.FAILED
    log.error(str(error))
    return Exit.FAILED
