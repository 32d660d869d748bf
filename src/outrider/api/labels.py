"""Label and annotation keys, ports, and the names of things that more than one room of the house must agree on."""

GROUP = "inference.llm-d.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_OWNER = "outrider"
"""The server-side-apply field owner of the operator."""
CLI_FIELD_OWNER = "outrider-cli"
"""The field owner of `outrider apply`: a person, as far as ownership is concerned."""

NAME = "app.kubernetes.io/name"
NAME_VALUE = "llm-deployment"
"""Every pod and Service of an LLMDeployment carries `app.kubernetes.io/name=llm-deployment`."""
INSTANCE = "app.kubernetes.io/instance"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE = "outrider"

DEPLOYMENT = f"{GROUP}/deployment"
"""Name of the LLMDeployment that an object belongs to (`names.label_value` where it is longer than 63)."""
REVISION = f"{GROUP}/revision"
"""Hash of the ModelRevision that a pod runs."""
MODEL_VERSION = f"{GROUP}/version"
"""The model version that a pod runs, as people write it: v1.2.0."""
MODEL = "llm-d.ai/model"
ROLE = "llm-d.ai/role"
ROLE_VALUE = "decode"
ENGINE_TYPE = "llm-d.ai/engine-type"

COLOUR = "deployment"
"""Pods of an LLMDeployment named `...-blue` or `...-green` carry `deployment=blue` or `deployment=green`, by which the
Service in the SRE guide's blue-green script chooses between them. A pod label of the user's own comes first."""
COLOURS = ("blue", "green")

SCRAPE = f"{GROUP}/scrape"
"""On a Service, with value `false`: the namespace's ServiceMonitor leaves it out."""

GPU_RESOURCE = "nvidia.com/gpu"
GPU_PRODUCT = "nvidia.com/gpu.product"
GPU_NODE = "node-type"
"""Nodes with GPUs carry `node-type=gpu`, as the SRE guide selects them."""

HTTP_PORT_NAME = "http"
HTTP_PORT = 8080
METRICS_PORT_NAME = "metrics"
METRICS_PORT = 8081

HOST_PORTS = "local.outrider.dev/host-ports"
"""Pod annotation written by the process kubelet where all pods share 127.0.0.1 (macOS): JSON {"8080": 40123}."""

SIMULATOR_CONFIG_MAP = "outrider-simulator"
"""ConfigMap in a pod's namespace from which the local world takes the faults of simulated model servers."""

ANSWERS_REQUESTS = f"{GROUP}/answers-requests"
"""Pod condition, and readiness gate, that the operator sets to True once the pod has answered a real request."""

RETRY = f"{GROUP}/retry"
"""Annotation of a ModelRevision that was rolled back by itself: the time of the rejection that is to be lifted. A later
rejection has another time, so that one retry is one try; and Git owns no ModelRevision."""

PAUSE_RELEASE = f"{GROUP}/pause-release"
PROMOTE_RELEASE = f"{GROUP}/promote-release"
SKIP_STEP = f"{GROUP}/skip-step"
ABORT_RELEASE = f"{GROUP}/abort-release"
"""Annotations of the ModelRevision that is being released, by which people steer its release: hold it where it is, give
it all traffic without the steps that are left, end the present step, take it back. Each names the release that it means
by its `status.release.startedTime` (`SKIP_STEP`: and the step, `TIME/STEP`, the first being 0), so that it says nothing
about another release of the same revision."""

DRILL = f"{GROUP}/drill"
"""Annotation of a ModelRevision: the time (RFC 3339) at which a drill of it was asked for. A pod of a drill carries the
same time, so that it is known which drill it belongs to. Removing it from the ModelRevision ends the drill."""
DRILL_OF = f"{GROUP}/drill-of"
"""Label of a drill's Deployment and pod, in the place of `DEPLOYMENT` and with the same value: so no Service, budget,
autoscaler or endpoint picker of the LLMDeployment ever selects them."""

PROBE_HEADER = "x-outrider-probe"
"""Marks Outrider's own synthetic requests, so that they count neither as user traffic nor as cost."""
REQUEST_ID_HEADER = "x-request-id"
REVISION_HEADER = "x-outrider-revision"
"""Response header of the gateway: the revision hash that answered."""
