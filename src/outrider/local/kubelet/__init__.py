"""Runs pods as local processes: the little of a kubelet that makes `Pod` objects true on this machine."""
