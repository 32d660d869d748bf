"""Installations that tests of the manifests, and of the chart, have in common; each by a sentence about it."""

from outrider.plan.install.settings import Installation, ResourceNeeds

CASES = {
    "the defaults": Installation(),
    "two namespaces of a tenant, behind a gateway": Installation(
        watch_namespaces=("team-a", "team-b"), gateway="infra/public", inference_pool=True, replicas=1
    ),
    "no cluster-scoped object at all": Installation(
        watch_namespaces=("team-a",), cluster_roles=False, crds=False, network_policy=False
    ),
    "everything that can be set": Installation(
        image="registry.example/outrider@sha256:0000",
        image_pull_policy="Always",
        image_pull_secrets=("pull",),
        replicas=3,
        gateway="infra/public",
        gateway_inside_url="http://traefik.infra:8000",
        gateway_metrics=("http://traefik-0.traefik.infra:9100/metrics", "http://traefik-1.traefik.infra:9100/metrics"),
        inference_pool=True,
        arguments=("--probe-interval=5s",),
        service_monitor=True,
        resources=ResourceNeeds(requests={"cpu": 1, "memory": "1Gi"}, limits={}),
        node_selector={"pool": "infra"},
        tolerations=({"key": "infra", "operator": "Exists"},),
    ),
}
