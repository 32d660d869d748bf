"""Kubeconfigs mean what they mean to kubectl, and errors name the file."""

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from outrider.kube.kubeconfig import (
    KubeconfigError,
    default_paths,
    in_cluster_config,
    load_cluster_config,
    load_kubeconfig,
    write_kubeconfig,
)


def config(name: str, server: str, user: dict[str, Any] | None = None, *, current: bool = True) -> dict[str, Any]:
    document: dict[str, Any] = {
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"{name}-ns"}}],
    }
    return document | ({"current-context": name} if current else {})


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def test_the_current_context_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "config", config("a", "https://10.0.0.1:6443/", {"token": "secret"}))
    loaded = load_kubeconfig([path])
    assert (loaded.server, loaded.namespace, loaded.context) == ("https://10.0.0.1:6443", "a-ns", "a")
    assert loaded.token == "secret"
    assert loaded.source == str(path)
    assert "secret" not in repr(loaded)


def test_several_files_are_merged_and_the_first_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "1", config("a", "https://first", current=False))
    second = write(tmp_path / "2", config("b", "https://b"))
    third = write(tmp_path / "3", config("a", "https://third"))
    paths = [tmp_path / "missing", first, second, third]
    assert load_kubeconfig(paths).context == "b"
    assert load_kubeconfig(paths, context="a").server == "https://first"


def test_relative_paths_are_relative_to_their_file_and_data_is_kept(tmp_path: Path) -> None:
    login = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./bin/login", "args": None, "env": None}
    user = {"client-certificate": "certs/me.crt", "client-key": "/etc/me.key", "tokenFile": "token", "exec": login}
    document = config("a", "https://a", user)
    document["clusters"][0]["cluster"] |= {
        "certificate-authority": "ca.crt",
        "tls-server-name": "api.example.com",
        "insecure-skip-tls-verify": False,
        "proxy-url": "http://proxy:3128",
    }
    loaded = load_kubeconfig([write(tmp_path / "dir" / "config", document)])
    folder = tmp_path / "dir"
    assert loaded.certificate_authority == folder / "ca.crt"
    assert loaded.client_certificate == folder / "certs/me.crt"
    assert loaded.client_key == Path("/etc/me.key")
    assert loaded.token_file == folder / "token"
    assert (loaded.tls_server_name, loaded.proxy_url) == ("api.example.com", "http://proxy:3128")
    assert loaded.exec is not None
    assert loaded.exec.command == str(folder / "bin/login")
    assert loaded.exec.args is None


def test_a_context_without_a_user_is_anonymous(tmp_path: Path) -> None:
    document = config("a", "http://a")
    del document["users"], document["contexts"][0]["context"]["user"], document["contexts"][0]["context"]["namespace"]
    loaded = load_kubeconfig([write(tmp_path / "config", document)])
    assert (loaded.token, loaded.namespace) == ("", "")


def broken(change: Any) -> dict[str, Any]:
    document = config("a", "https://a")
    change(document)
    return document


BAD = {
    "no YAML": ("a: [", None, "is not YAML"),
    "not a mapping": ("just text", None, "is malformed"),
    "a cluster of the wrong shape": (broken(lambda d: d.update(clusters="x")), None, "is malformed"),
    "no current context": (broken(lambda d: d.pop("current-context")), None, "no current-context: choose one of 'a'"),
    "an empty file": ("", None, "has no current-context: choose one of none"),
    "an unknown context": (config("a", "https://a"), "b", "has no context 'b': it has 'a'"),
    "an unknown cluster": (broken(lambda d: d.update(clusters=[])), None, "names the cluster 'a'; there is none"),
    "an unknown user": (broken(lambda d: d.update(users=None)), None, "names the user 'a'; there is none"),
    "a server that is no URL": (config("a", "10.0.0.1:6443"), None, "must be an http or https URL"),
    "a removed way of logging in": (
        config("a", "https://a", {"auth-provider": {"name": "gcp"}}), None, "use the provider's exec plugin",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_errors_name_the_file_and_what_to_do(name: str, tmp_path: Path) -> None:
    document, context, message = BAD[name]
    path = write(tmp_path / "broken-config", document)
    with pytest.raises(KubeconfigError) as caught:
        load_kubeconfig([path], context=context)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match=r"there is no kubeconfig at .*nowhere.*outrider up"):
        load_kubeconfig([tmp_path / "nowhere"])


def test_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="cannot read the kubeconfig"):
        load_kubeconfig([tmp_path])  # a folder


def test_which_files_kubectl_would_read() -> None:
    assert default_paths({"KUBECONFIG": "/a:/b::"}) == [Path("/a"), Path("/b")]
    assert default_paths({}) == [Path.home() / ".kube" / "config"]


def test_inside_a_pod(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert in_cluster_config(environ, tmp_path) is None
    (tmp_path / "token").write_text("t")
    with pytest.raises(KubeconfigError, match=r"ca\.crt is missing"):
        in_cluster_config(environ, tmp_path)
    (tmp_path / "ca.crt").write_text("c")
    (tmp_path / "namespace").write_text("prod\n")
    assert in_cluster_config({}, tmp_path) is None
    loaded = in_cluster_config(environ, tmp_path)
    assert loaded is not None
    assert (loaded.server, loaded.namespace) == ("https://10.96.0.1:443", "prod")
    assert loaded.token_file == tmp_path / "token"
    ipv6 = in_cluster_config(environ | {"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path)
    assert ipv6 is not None
    assert ipv6.server == "https://[fd00::1]:443"


def test_a_named_file_comes_before_the_cluster_around_us(tmp_path: Path) -> None:
    path = write(tmp_path / "config", config("a", "https://a"))
    environ = {"KUBECONFIG": str(path), "KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert load_cluster_config(environ=environ).server == "https://a"


def test_written_files_are_private_whole_and_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "kubeconfig"
    write_kubeconfig(path, server="http://127.0.0.1:1234", token="old")
    path.chmod(0o644)
    write_kubeconfig(path, server="http://127.0.0.1:1234", token="t", context="world", namespace="team")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["kubeconfig"], "nothing temporary is left"
    loaded = load_kubeconfig([path])
    assert (loaded.server, loaded.token, loaded.context, loaded.namespace) == (
        "http://127.0.0.1:1234", "t", "world", "team",
    )  # fmt: skip


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").mkdir()
    with pytest.raises(OSError):
        write_kubeconfig(tmp_path / "kubeconfig", server="http://127.0.0.1:1")
    assert [file.name for file in tmp_path.iterdir()] == ["kubeconfig"]
