"""Kubeconfig files, read and merged as kubectl does, and the identity of a pod inside a cluster.

Which files: `--kubeconfig`, else the list in `KUBECONFIG`, else `~/.kube/config`. Several files are merged: the first
file that names a cluster, a user, a context or the current context wins; files of the list that do not exist are
skipped. Relative paths in a file are relative to that file.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import yaml

from outrider.kube.files import write_private

T = TypeVar("T")

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeconfigError(Exception):
    """A kubeconfig is missing, unreadable or incomplete. The message names the file and what to do."""


class EnvironmentVariable(msgspec.Struct, frozen=True):
    name: str
    value: str


class ExecPlugin(msgspec.Struct, frozen=True, rename="camel"):
    """A program that prints credentials (client-go credential plugin), as cloud providers ship them."""

    command: str
    api_version: str = "client.authentication.k8s.io/v1"
    args: tuple[str, ...] | None = None
    env: tuple[EnvironmentVariable, ...] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: Literal["Never", "IfAvailable", "Always"] = "IfAvailable"
    """Whether the plugin may, or must, speak with the person at the terminal."""


class _Extension(msgspec.Struct, frozen=True):
    name: str = ""
    extension: Any = None


EXEC_EXTENSION = "client.authentication.k8s.io/exec"
"""Name of the cluster's extension whose content a plugin is told."""


class _Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    extensions: tuple[_Extension, ...] = ()


class _User(msgspec.Struct, frozen=True, rename="kebab"):
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    username: str = ""
    password: str = ""
    exec: ExecPlugin | None = None
    auth_provider: dict[str, Any] | None = None
    as_: str = msgspec.field(name="as", default="")
    as_uid: str = ""
    as_groups: tuple[str, ...] = ()
    as_user_extra: dict[str, tuple[str, ...]] = {}


class _Context(msgspec.Struct, frozen=True):
    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedCluster(msgspec.Struct, frozen=True):
    name: str
    cluster: _Cluster = _Cluster()


class _NamedUser(msgspec.Struct, frozen=True):
    name: str
    user: _User = _User()


class _NamedContext(msgspec.Struct, frozen=True):
    name: str
    context: _Context = _Context()


class _File(msgspec.Struct, frozen=True, rename="kebab"):
    clusters: tuple[_NamedCluster, ...] | None = None
    users: tuple[_NamedUser, ...] | None = None
    contexts: tuple[_NamedContext, ...] | None = None
    current_context: str = ""


@dataclass(frozen=True)
class ClusterConfig:
    """All that is needed to talk to one cluster as one user. `*_data` are base64, as in the file."""

    server: str
    """Base URL, such as `https://10.0.0.1:6443`."""
    namespace: str = ""
    """The context's namespace; empty when it names none (which means `default`)."""
    context: str = ""
    source: str = ""
    """Where all this comes from, for messages."""
    certificate_authority: Path | None = None
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    client_certificate: Path | None = None
    client_certificate_data: str = ""
    client_key: Path | None = None
    client_key_data: str = field(default="", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    exec: ExecPlugin | None = None
    exec_config: Any = None
    """What the cluster has to tell the plugin."""
    impersonation: tuple[tuple[str, str], ...] = ()
    """Headers that ask the server to act in somebody else's name (`as`, `as-groups` ...)."""


@dataclass(frozen=True)
class _Found(Generic[T]):
    """An entry, and the file it is from."""

    entry: T
    file: Path

    def path(self, text: str) -> Path | None:
        return self.file.absolute().parent / Path(text).expanduser() if text else None


def default_paths(environ: Mapping[str, str] | None = None) -> list[Path]:
    """The files that kubectl reads without `--kubeconfig`."""
    environ = os.environ if environ is None else environ
    if listed := environ.get("KUBECONFIG"):
        return [Path(part).expanduser() for part in listed.split(os.pathsep) if part]
    try:
        return [Path.home() / ".kube" / "config"]
    except RuntimeError:  # a container's user often has no home, and none needs one there
        return []


def load_kubeconfig(paths: Sequence[Path] | None = None, *, context: str | None = None) -> ClusterConfig:
    """The cluster and user that `context` (else the current context) of the merged files means.

    Raises `KubeconfigError` when no file exists, one cannot be read, or the context or what it names is missing.
    """
    paths = default_paths() if paths is None else paths
    files = [(path, _read(path)) for path in map(Path.expanduser, paths) if path.exists()]
    if not files:
        looked = ", ".join(map(str, paths)) or "any place (this user has no home folder)"
        raise KubeconfigError(
            f"there is no kubeconfig at {looked}: name one with --kubeconfig or KUBECONFIG, or start `outrider up`"
        )
    source = ", ".join(str(path) for path, _ in files)
    clusters = _merge([(path, {named.name: named.cluster for named in file.clusters or ()}) for path, file in files])
    users = _merge([(path, {named.name: named.user for named in file.users or ()}) for path, file in files])
    contexts = _merge([(path, {named.name: named.context for named in file.contexts or ()}) for path, file in files])
    name = context or next((file.current_context for _, file in files if file.current_context), "")
    if not name:
        raise KubeconfigError(f"{source} has no current-context: choose one of {_known(contexts)} with --context")
    chosen = contexts.get(name)
    if chosen is None:
        raise KubeconfigError(f"{source} has no context {name!r}: it has {_known(contexts)}")
    where = f"{chosen.file}: context {name!r}"
    cluster = clusters.get(chosen.entry.cluster)
    if cluster is None:
        raise KubeconfigError(f"{where} names the cluster {chosen.entry.cluster!r}; there is {_known(clusters)}")
    user = users.get(chosen.entry.user) if chosen.entry.user else _Found(_User(), chosen.file)
    if user is None:
        raise KubeconfigError(f"{where} names the user {chosen.entry.user!r}; there is {_known(users)}")
    return _combine(name, chosen.entry.namespace, source, cluster, user)


def in_cluster_config(
    environ: Mapping[str, str] | None = None, service_account: Path = SERVICE_ACCOUNT
) -> ClusterConfig | None:
    """The identity that Kubernetes gives a pod; None outside a pod. Raises `KubeconfigError` when half of it is there.

    The token file is read anew as the kubelet rotates it.
    """
    environ = os.environ if environ is None else environ
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    token = service_account / "token"
    if not host or not port or not token.exists():
        return None
    authority = service_account / "ca.crt"
    if not authority.exists():
        raise KubeconfigError(f"{authority} is missing: mount the pod's service account token with its ca.crt")
    namespace = service_account / "namespace"
    return ClusterConfig(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace.read_text().strip() if namespace.exists() else "",
        source=f"the pod's service account in {service_account}",
        certificate_authority=authority,
        token_file=token,
    )


def load_cluster_config(
    paths: Sequence[Path] | None = None, *, context: str | None = None, environ: Mapping[str, str] | None = None
) -> ClusterConfig:
    """What a program should talk to: named or existing kubeconfig files first, then the cluster that it runs in."""
    if paths is None:
        paths = default_paths(environ)
        if context is None and not any(path.exists() for path in paths):
            inside = in_cluster_config(environ)
            if inside is not None:
                return inside
    return load_kubeconfig(paths, context=context)


def write_kubeconfig(
    path: Path,
    *,
    server: str,
    token: str = "",
    context: str = "outrider",
    namespace: str = "default",
    certificate_authority_data: str = "",
    client_certificate_data: str = "",
    client_key_data: str = "",
) -> None:
    """Write a kubeconfig with one context: whole or not at all, and readable by its owner only.

    The user is known by `token`, or by a client certificate with its key; all data is base64 of PEM.
    """
    cluster = {"server": server}
    if certificate_authority_data:
        cluster["certificate-authority-data"] = certificate_authority_data
    credentials = {
        "token": token,
        "client-certificate-data": client_certificate_data,
        "client-key-data": client_key_data,
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": {key: value for key, value in credentials.items() if value}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context, "namespace": namespace}}],
    }
    write_private(path, yaml.safe_dump(document, sort_keys=False).encode())


def _read(path: Path) -> _File:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KubeconfigError(f"cannot read the kubeconfig {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"the kubeconfig {path} is not YAML: {error}") from error
    if document is None:  # kubectl creates empty ones, and reads them as saying nothing
        return _File()
    try:
        return msgspec.convert(_without_nulls(document), _File)
    except msgspec.ValidationError as error:
        raise KubeconfigError(f"the kubeconfig {path} is malformed: {error}") from error


def _without_nulls(value: Any) -> Any:
    """A key without a value says as little as one that is not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _merge(files: Sequence[tuple[Path, Mapping[str, T]]]) -> dict[str, _Found[T]]:
    merged: dict[str, _Found[T]] = {}
    for path, entries in files:
        for name, entry in entries.items():
            merged.setdefault(name, _Found(entry, path))
    return merged


def _known(entries: Mapping[str, object]) -> str:
    return ", ".join(map(repr, sorted(entries))) or "none"


def _combine(
    context: str, namespace: str, source: str, found: _Found[_Cluster], identity: _Found[_User]
) -> ClusterConfig:
    cluster, user = found.entry, identity.entry
    url = urlsplit(cluster.server)
    if url.scheme not in ("http", "https") or not url.netloc:
        raise KubeconfigError(
            f"{found.file}: the server of context {context!r} must be an http or https URL, not {cluster.server!r}"
        )
    if user.auth_provider is not None and user.exec is None:
        provider = user.auth_provider.get("name", "")
        raise KubeconfigError(
            f"{identity.file}: the user of context {context!r} has the auth-provider {provider!r}, which Kubernetes "
            "removed in 1.26: use the provider's exec plugin instead"
        )
    return ClusterConfig(
        server=cluster.server.rstrip("/"),
        namespace=namespace,
        context=context,
        source=source,
        certificate_authority=found.path(cluster.certificate_authority),
        certificate_authority_data=cluster.certificate_authority_data,
        insecure_skip_tls_verify=cluster.insecure_skip_tls_verify,
        tls_server_name=cluster.tls_server_name,
        proxy_url=cluster.proxy_url,
        token=user.token,
        token_file=identity.path(user.token_file),
        client_certificate=identity.path(user.client_certificate),
        client_certificate_data=user.client_certificate_data,
        client_key=identity.path(user.client_key),
        client_key_data=user.client_key_data,
        username=user.username,
        password=user.password,
        exec=_located(user.exec, identity.file),
        exec_config=next((one.extension for one in cluster.extensions if one.name == EXEC_EXTENSION), None),
        impersonation=_impersonation(user),
    )


def _impersonation(user: _User) -> tuple[tuple[str, str], ...]:
    headers = [("Impersonate-User", user.as_), ("Impersonate-Uid", user.as_uid)]
    headers += [("Impersonate-Group", group) for group in user.as_groups]
    for key, values in user.as_user_extra.items():
        headers += [(f"Impersonate-Extra-{quote(key, safe='')}", value) for value in values]
    return tuple((name, value) for name, value in headers if value)


def _located(plugin: ExecPlugin | None, file: Path) -> ExecPlugin | None:
    """The plugin with a relative path made absolute; a bare name is looked up in `PATH`, as kubectl does."""
    if plugin is None or os.sep not in plugin.command:
        return plugin
    return msgspec.structs.replace(plugin, command=str(file.absolute().parent / plugin.command))
