"""The HTTPS API of a node whose kubelet runs pods as local processes: logs, exec, attach, port-forward, statistics."""

from outrider.local.kubelet.server.app import KubeletServer

__all__ = ["KubeletServer"]
