"""What `outrider describe` shows of objects that hold secrets."""

import base64
import json

from outrider.cli.describe import for_people
from outrider.kube.objects import CONFIG_MAP, SECRET

COPY = "kubectl.kubernetes.io/last-applied-configuration"


def test_a_secret_is_described_by_how_much_is_in_it_and_not_by_what() -> None:
    value = base64.b64encode(b"hunter2").decode()
    item = {
        "kind": "Secret",
        "metadata": {"name": "s", "annotations": {COPY: json.dumps({"data": {"token": value}}), "team": "sre"}},
        "data": {"token": value, "broken": "%%%"},
    }
    shown = for_people(SECRET, item)
    assert shown["data"] == {"token": "7 bytes", "broken": "3 bytes"}
    assert value not in json.dumps(shown)
    assert shown["metadata"]["annotations"] == {"team": "sre"}


def test_other_objects_are_shown_whole_but_for_the_bookkeeping_of_fields() -> None:
    item = {"metadata": {"name": "c", "managedFields": [{}]}, "data": {"a": "1"}}
    assert for_people(CONFIG_MAP, item) == {"metadata": {"name": "c"}, "data": {"a": "1"}}
