"""A real Kubernetes control plane for the local world: its programs, its certificates, and a network for pods."""
