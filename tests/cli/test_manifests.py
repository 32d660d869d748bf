import re

import pytest

from outrider.cli.apply import sorted_out
from outrider.cli.errors import CliError, Exit
from outrider.cli.manifests import parse_manifests, read_manifests

GOOD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"

BAD = {
    "no YAML": ("a: [1", "not valid YAML"),
    "a list instead of an object": ("- 1\n", "not a list"),
    "no kind": ("apiVersion: v1\nmetadata: {name: a}\n", "kind: Required"),
    "no apiVersion": ("kind: X\nmetadata: {name: a}\n", "apiVersion: Required"),
    "no name": ("apiVersion: v1\nkind: X\nmetadata: {}\n", "metadata.name: Required"),
    "metadata that is no mapping": (
        "apiVersion: v1\nkind: X\nmetadata: 5\n",
        "metadata: Invalid value: 5: must be an object",
    ),
    "a key that is said twice": (
        "apiVersion: v1\nkind: X\nmetadata: {name: a}\nkind: Y\n",
        "line 4, column 1: 'kind' is said again, after line 2",
    ),
    "an object within itself": ("apiVersion: v1\nkind: X\nmetadata: {name: a}\ndata: &a {x: *a}\n", "JSON cannot say"),
    "a namespace that is no text": ("apiVersion: v1\nkind: X\nmetadata: {name: a, namespace: 7}\n", "put it in quotes"),
    "everything missing is said at once": ("{}", "(?s)apiVersion: Required.*kind: Required.*metadata.name: Required"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_bad_manifests_are_refused_with_where_and_why(text, message) -> None:
    (refusal,) = parse_manifests(text, "here.yaml").refused
    assert re.search(message, "\n".join([refusal.message, *refusal.hints]))
    assert refusal.exit_code == Exit.INVALID
    assert "here.yaml" in refusal.message


def test_several_documents_and_lists_stand_for_their_objects() -> None:
    text = (
        GOOD + "---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n"
    )
    found = parse_manifests(text, "x").manifests
    assert [(each.kind, each.name) for each in found] == [("ConfigMap", "a"), ("Secret", "b")]
    assert found[1].source == "x (document 3) (items[0])"


def test_merged_keys_are_not_said_twice() -> None:
    text = "base: &base {kind: X, apiVersion: v1}\n<<: *base\nkind: Y\nmetadata: {name: a}\n"
    assert [each.kind for each in parse_manifests(text, "x").manifests] == ["Y"]


def test_a_date_is_text_as_a_cluster_reads_it() -> None:
    (found,) = parse_manifests(GOOD + "data: {day: 2026-1-31, at: 2026-01-31t1:00:00Z}\n", "x").manifests
    assert found.body["data"] == {"day": "2026-1-31", "at": "2026-01-31t1:00:00Z"}


def test_bytes_that_are_no_text_are_refused(tmp_path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CliError, match="is not UTF-8 text"):
        read_manifests([tmp_path / "a.yaml"])


def test_a_folder_stands_for_its_manifests_in_order(tmp_path) -> None:
    (tmp_path / "b.yaml").write_text(GOOD.replace("name: a", "name: b"))
    (tmp_path / "a.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}')
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert [each.name for each in read_manifests([tmp_path])] == ["a", "b"]


def test_a_missing_file_is_not_found(tmp_path) -> None:
    with pytest.raises(CliError, match="no such file") as refusal:
        read_manifests([tmp_path / "none.yaml"])
    assert refusal.value.exit_code == Exit.NOT_FOUND


def test_nothing_at_all_is_an_error(tmp_path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    with pytest.raises(CliError, match="no objects found"):
        read_manifests([tmp_path / "empty.yaml"])


def test_an_object_that_is_there_twice_is_told_of_where_the_later_one_stands() -> None:
    other = GOOD.replace("name: a", "name: a, namespace: other")
    checked, refused = sorted_out(parse_manifests(f"{GOOD}---\n{other}---\n{GOOD}---\n{GOOD}", "x"), "here", None)
    assert not refused
    assert [item.notes for item in checked] == [
        (),
        (),
        ("warning: x (document 3) is the same object as x (document 1): the one that comes last stays",),
        ("warning: x (document 4) is the same object as x (document 1): the one that comes last stays",),
    ]
