"""What holds for objects of every kind, on ConfigMaps and Secrets: names, versions, metadata, dry runs, refusals."""

from typing import Any

from parity.steps import NAMESPACE, Corpus, From, Step, create, delete, get, obj, patch, put

from outrider.kube.objects import CONFIG_MAP, DEPLOYMENT, SECRET

VERSION = From(0, "metadata.resourceVersion")


def settings(name: str = "settings", **more: Any) -> dict[str, Any]:
    return obj(CONFIG_MAP, name, data={"colour": "blue", "size": "7"}, **more)


def _owner(**more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "boss",
        "uid": "11111111-2222-4333-8444-555555555555",
        **more,
    }


OBJECTS: Corpus = {
    "a ConfigMap is created, read, replaced and deleted": [
        create(CONFIG_MAP, settings()),
        get(CONFIG_MAP, "settings"),
        put(CONFIG_MAP, obj(CONFIG_MAP, "settings", data={"colour": "red"})),
        delete(CONFIG_MAP, "settings"),
        get(CONFIG_MAP, "settings"),
    ],
    "a body may leave out apiVersion and kind": [
        create(CONFIG_MAP, {"metadata": {"name": "bare"}, "data": {"a": "b"}})
    ],
    "a body of another kind is refused": [
        create(CONFIG_MAP, obj(SECRET, "settings")),
        create(CONFIG_MAP, {"apiVersion": "apps/v1", "kind": "ConfigMap", "metadata": {"name": "x"}}),
    ],
    "a body without a name is refused": [create(CONFIG_MAP, {"data": {"a": "b"}})],
    "a body in another namespace than the path is refused": [
        create(CONFIG_MAP, obj(CONFIG_MAP, "settings", {"namespace": "default"})),
        create(CONFIG_MAP, obj(CONFIG_MAP, "settings", {"namespace": NAMESPACE})),
    ],
    "a body that is no JSON, no object or empty is refused": [
        create(CONFIG_MAP, "text"),
        create(CONFIG_MAP, ["a", "list"]),
        create(CONFIG_MAP, {}),
    ],
    "what exists is not created again": [create(CONFIG_MAP, settings()), create(CONFIG_MAP, settings())],
    "an object in a namespace that does not exist is refused": [
        Step("POST", "/api/v1/namespaces/nowhere/configmaps", settings(), kind="ConfigMap"),
        Step("GET", "/api/v1/namespaces/nowhere/configmaps/settings", kind="ConfigMap"),
        Step("GET", "/api/v1/namespaces/nowhere/configmaps", kind="ConfigMap"),
    ],
    "names are checked": [
        create(CONFIG_MAP, obj(CONFIG_MAP, "Capital")),
        create(CONFIG_MAP, obj(CONFIG_MAP, "under_score")),
        create(CONFIG_MAP, obj(CONFIG_MAP, "-dash")),
        create(CONFIG_MAP, obj(CONFIG_MAP, "dots.are.fine-1.2")),
        create(CONFIG_MAP, obj(CONFIG_MAP, "a..b")),
        create(CONFIG_MAP, obj(CONFIG_MAP, "a" * 253)),
        create(CONFIG_MAP, obj(CONFIG_MAP, "a" * 254)),
        create(CONFIG_MAP, obj(CONFIG_MAP, "a/b")),
    ],
    "generateName gives a name": [
        create(CONFIG_MAP, {"metadata": {"generateName": "made-"}}),
        create(CONFIG_MAP, {"metadata": {"generateName": "made-" + "n" * 80}}),
        create(CONFIG_MAP, {"metadata": {"generateName": "refused-_"}}),
    ],
    "labels are checked": [
        create(CONFIG_MAP, settings("one", metadata={"labels": {"a": "b", "example.com/x": "", "UPPER": "Y_e.s"}})),
        create(CONFIG_MAP, settings("two", metadata={"labels": {"a b": "c"}})),
        create(CONFIG_MAP, settings("three", metadata={"labels": {"a": "b c"}})),
        create(CONFIG_MAP, settings("four", metadata={"labels": {"a": "x" * 64}})),
        create(CONFIG_MAP, settings("five", metadata={"labels": {"Exa_mple.com/a": "b", "/x": "y"}})),
        create(CONFIG_MAP, settings("six", metadata={"labels": {"a": 1}})),
        create(CONFIG_MAP, settings("seven", metadata={"labels": {"a": None}})),
    ],
    "annotations are checked": [
        create(CONFIG_MAP, settings("one", metadata={"annotations": {"a": "anything, {} \n goes", "x/Y": ""}})),
        create(CONFIG_MAP, settings("two", metadata={"annotations": {"a b": "c"}})),
        create(CONFIG_MAP, settings("three", metadata={"annotations": {"a": True}})),
        create(CONFIG_MAP, settings("four", metadata={"annotations": {"big": "x" * (256 * 1024)}})),
    ],
    "what the server decides cannot be given at creation": [
        create(
            CONFIG_MAP,
            obj(
                CONFIG_MAP,
                "settings",
                {
                    "uid": "11111111-2222-4333-8444-555555555555",
                    "creationTimestamp": "2020-01-01T00:00:00Z",
                    "generation": 7,
                    "selfLink": "/x",
                    "deletionGracePeriodSeconds": 3,
                    "deletionTimestamp": "2020-01-01T00:00:00Z",
                },
            ),
        ),
        create(CONFIG_MAP, settings("versioned", metadata={"resourceVersion": "5"})),
    ],
    "what the server decides cannot be changed": [
        create(CONFIG_MAP, settings()),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"}}),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"generation": 9, "selfLink": "/x"}}),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"uid": "11111111-2222-4333-8444-555555555555"}}),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"name": "other"}}),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"namespace": "other"}}),
        patch(CONFIG_MAP, "merge", "settings", {"kind": "Secret"}),
        patch(CONFIG_MAP, "merge", "settings", {"apiVersion": "v2"}),
    ],
    "owner references are checked": [
        create(CONFIG_MAP, settings("one", metadata={"ownerReferences": [_owner(controller=True)]})),
        create(CONFIG_MAP, settings("two", metadata={"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap"}]})),
        create(
            CONFIG_MAP,
            settings(
                "three",
                metadata={
                    "ownerReferences": [
                        _owner(controller=True),
                        _owner(controller=True, uid="99999999-2222-4333-8444-555555555555", name="other"),
                    ]
                },
            ),
        ),
    ],
    "finalizers are checked": [
        create(CONFIG_MAP, settings("one", metadata={"finalizers": ["example.com/guard", "orphan"]})),
        create(CONFIG_MAP, settings("two", metadata={"finalizers": ["unqualified"]})),
        create(CONFIG_MAP, settings("three", metadata={"finalizers": ["not a name/at all"]})),
    ],
    "a replacement with the present version succeeds, with an old one it conflicts": [
        create(CONFIG_MAP, settings()),
        put(CONFIG_MAP, obj(CONFIG_MAP, "settings", {"resourceVersion": VERSION}, data={"colour": "red"})),
        put(CONFIG_MAP, obj(CONFIG_MAP, "settings", {"resourceVersion": VERSION}, data={"colour": "green"})),
        get(CONFIG_MAP, "settings"),
    ],
    "a patch with an old version conflicts": [
        create(CONFIG_MAP, settings()),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"colour": "red"}}),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"resourceVersion": VERSION}, "data": {"colour": "green"}}),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"resourceVersion": "abc"}}),
        patch(
            CONFIG_MAP,
            "merge",
            "settings",
            {"metadata": {"resourceVersion": From(1, "metadata.resourceVersion")}, "data": {"colour": "green"}},
        ),
    ],
    "a replacement with another uid conflicts": [
        create(CONFIG_MAP, settings()),
        put(CONFIG_MAP, obj(CONFIG_MAP, "settings", {"uid": "11111111-2222-4333-8444-555555555555"})),
    ],
    "a replacement of what does not exist is refused": [
        put(CONFIG_MAP, settings()),
        put(CONFIG_MAP, settings(metadata={"resourceVersion": "1"})),
        put(CONFIG_MAP, settings(), of="other"),
    ],
    "a patch of what does not exist is refused": [
        patch(CONFIG_MAP, "merge", "settings", {"data": {"a": "b"}}),
        patch(CONFIG_MAP, "strategic", "settings", {"data": {"a": "b"}}),
        patch(CONFIG_MAP, "json", "settings", [{"op": "add", "path": "/data", "value": {}}]),
    ],
    "a write that changes nothing makes no new version": [
        create(CONFIG_MAP, settings()),
        put(CONFIG_MAP, settings()),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"colour": "blue"}}),
        patch(CONFIG_MAP, "merge", "settings", {}),
        patch(CONFIG_MAP, "json", "settings", []),
        patch(CONFIG_MAP, "strategic", "settings", {"metadata": {"labels": None}}),
    ],
    "a dry run answers as if, and changes nothing": [
        create(CONFIG_MAP, settings(), dryRun="All"),
        get(CONFIG_MAP, "settings"),
        create(CONFIG_MAP, settings()),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"colour": "red"}}, dryRun="All"),
        put(CONFIG_MAP, obj(CONFIG_MAP, "settings", data={}), dryRun="All"),
        delete(CONFIG_MAP, "settings", dryRun="All"),
        get(CONFIG_MAP, "settings"),
        create(CONFIG_MAP, settings(), dryRun="All"),
        create(CONFIG_MAP, settings("Bad_Name"), dryRun="All"),
        create(CONFIG_MAP, settings("other"), dryRun="Some"),
    ],
    "data is text": [
        create(CONFIG_MAP, obj(CONFIG_MAP, "one", data={"a": 1})),
        create(CONFIG_MAP, obj(CONFIG_MAP, "two", data={"a": None})),
        create(CONFIG_MAP, obj(CONFIG_MAP, "three", data="text")),
        create(CONFIG_MAP, obj(CONFIG_MAP, "four", data={"a b": "c"})),
        create(CONFIG_MAP, obj(CONFIG_MAP, "five", data={"default": "x", "llama_v1.2-q": "y"})),
        create(CONFIG_MAP, obj(CONFIG_MAP, "six", data={"*": "x"})),
        create(CONFIG_MAP, obj(CONFIG_MAP, "seven", binaryData={"a": "YWJj"})),
        create(CONFIG_MAP, obj(CONFIG_MAP, "eight", binaryData={"a": "?"})),
        create(CONFIG_MAP, obj(CONFIG_MAP, "nine", data={"a": "x"}, binaryData={"a": "YWJj"})),
    ],
    "unknown fields are dropped": [create(CONFIG_MAP, obj(CONFIG_MAP, "settings", colour="blue", data={"a": "b"}))],
    "fieldValidation=Strict refuses unknown fields": [
        create(CONFIG_MAP, settings("good"), fieldValidation="Strict"),
        create(CONFIG_MAP, obj(CONFIG_MAP, "settings", colour="blue"), fieldValidation="Strict"),
    ],
    "what is immutable stays": [
        create(CONFIG_MAP, settings(immutable=True)),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"colour": "red"}}),
        patch(CONFIG_MAP, "merge", "settings", {"immutable": False}),
        patch(CONFIG_MAP, "merge", "settings", {"metadata": {"labels": {"a": "b"}}}),
    ],
    "a Secret's stringData becomes data": [
        create(SECRET, obj(SECRET, "token", stringData={"password": "hunter2"}, data={"user": "YWRtaW4="})),
        patch(SECRET, "merge", "token", {"stringData": {"password": "new"}}),
        get(SECRET, "token"),
        create(SECRET, obj(SECRET, "bad", data={"user": "not base64!"})),
        create(SECRET, obj(SECRET, "typed", type="kubernetes.io/tls", data={"tls.crt": "", "tls.key": ""})),
        create(SECRET, obj(SECRET, "incomplete", type="kubernetes.io/tls")),
    ],
    "a Secret's type cannot change": [
        create(SECRET, obj(SECRET, "token", type="example.com/x")),
        patch(SECRET, "merge", "token", {"type": "Opaque"}),
    ],
    "subresources that a kind lacks are not found": [
        create(CONFIG_MAP, settings()),
        get(CONFIG_MAP, "settings", "status"),
        patch(CONFIG_MAP, "merge", "settings", {}, "status"),
        get(CONFIG_MAP, "settings", "scale"),
        get(CONFIG_MAP, "settings", "nonsense"),
    ],
    "kinds and versions that do not exist are not found": [
        Step("GET", "/api/v1/namespaces/{ns}/nonsense", kind="unknown"),
        Step("GET", "/apis/apps/v9/namespaces/{ns}/deployments", kind="unknown"),
        Step("GET", "/apis/nonsense.example.com/v1/namespaces/{ns}/things", kind="unknown"),
        Step("GET", "/api/v1/namespaces/{ns}/deployments/a", kind="unknown"),
        Step("GET", "/apis/apps/v1/deployments/a", kind="unknown"),
    ],
    "methods that an object does not have are refused": [
        create(CONFIG_MAP, settings()),
        Step("POST", "/api/v1/namespaces/{ns}/configmaps/settings", settings(), kind="ConfigMap"),
        Step("PUT", "/api/v1/namespaces/{ns}/configmaps", settings(), kind="ConfigMap"),
        Step("POST", "/api/v1/configmaps", settings(), kind="ConfigMap"),
    ],
    "a body of an unknown media type is refused": [
        create(CONFIG_MAP, settings()),
        Step("PATCH", "/api/v1/namespaces/{ns}/configmaps/settings", {}, "application/json", kind="ConfigMap"),
        Step("PATCH", "/api/v1/namespaces/{ns}/configmaps/settings", {}, "text/plain", kind="ConfigMap"),
        Step("POST", "/api/v1/namespaces/{ns}/configmaps", settings("other"), "text/plain", kind="ConfigMap"),
    ],
    "the generation counts changes of the spec alone": [
        create(CONFIG_MAP, settings()),
        patch(CONFIG_MAP, "merge", "settings", {"data": {"colour": "red"}}),
        create(DEPLOYMENT, obj(DEPLOYMENT, "bad")),
    ],
}
