import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.api.model_uri import SCHEMES, ModelUri
from outrider.api.version import Version, compare, is_previous_stable

# The order that semver.org gives as its own example (11.4), and more.
IN_ORDER = [
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "v1.0.0",
    "1.0.1",
    "v1.2.0",
    "1.10.0",
    "2.0.0",
]


@pytest.mark.parametrize(("at", "text"), list(enumerate(IN_ORDER)))
def test_semantic_versions_are_ordered_as_semver_says(at: int, text: str) -> None:
    for other_at, other in enumerate(IN_ORDER):
        expected = (at > other_at) - (at < other_at)
        assert compare(Version.parse(text), Version.parse(other)) == expected


def test_build_metadata_and_the_letter_v_do_not_order() -> None:
    assert compare(Version.parse("v1.2.0+a"), Version.parse("1.2.0+b")) == 0


def test_only_semantic_versions_can_be_compared() -> None:
    assert compare(Version.parse("latest"), Version.parse("v1.0.0")) is None
    assert compare(Version.parse("v1.0.0"), Version.parse("main")) is None


KINDS = {
    "with v": ("v1.2.0", "semantic"),
    "without v": ("1.2.0", "semantic"),
    "pre-release": ("v1.2.0-rc.1", "semantic"),
    "build": ("v1.2.0+cuda12.4", "semantic"),
    "two parts are a tag": ("v1.2", "tag"),
    "leading zeros are a tag": ("v01.2.0", "tag"),
    "a commit is a tag": ("0e9e39f249a16976918f6564b8830bc894c89659", "tag"),
    "latest": ("latest", "latest"),
    "the alias": ("previous-stable", "previous-stable"),
    "the guide's literal": ("previous-stable-tag", "previous-stable"),
}


@pytest.mark.parametrize("sentence", KINDS)
def test_versions_are_recognised(sentence: str) -> None:
    text, kind = KINDS[sentence]
    version = Version.parse(text)
    assert (version.kind, str(version), version.pinned) == (kind, text, kind == "semantic")
    assert is_previous_stable(text) == (kind == "previous-stable")


@pytest.mark.parametrize("text", ["", " ", "v1 2", "-v1", "a/b", "x" * 129, "v1.2.0\n", "ü"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a version"):
        Version.parse(text)


def test_a_number_is_told_to_go_into_quotes() -> None:
    with pytest.raises(ValueError, match=r'put it in quotes \("1\.2"\)'):
        Version.from_json(1.2)


@given(st.from_regex(r"v?[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(-[a-z0-9.]{1,8})?", fullmatch=True))
def test_comparing_is_antisymmetric(text: str) -> None:
    one, other = Version.parse(text), Version.parse("1.1.1-rc.1")
    there, back = compare(one, other), compare(other, one)
    assert (there is None and back is None) or there == -(back or 0)


URIS = {
    "a hub repository": ("hf://meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct", ""),
    "a hub repository at a revision": ("hf://Qwen/Qwen3-8B@refs/pr/3", "Qwen3-8B", "refs/pr/3"),
    "a bucket": ("s3://models/llama/v1", "v1", ""),
    "a bare bucket": ("gs://models", "models", ""),
    "an OCI artifact with a tag": ("oci://registry.example.com:5000/models/llama:v1.2.0", "llama", "v1.2.0"),
    "an OCI artifact with a digest": ("oci://ghcr.io/models/llama@sha256:" + "a" * 64, "llama", "sha256:" + "a" * 64),
    "a volume claim": ("pvc://model-store/llama-3.1-8b", "llama-3.1-8b", ""),
    "a file": ("file:///models/llama", "llama", ""),
    "the web": ("https://models.example.com/llama.tar?sig=1", "llama.tar?sig=1", ""),
}


@pytest.mark.parametrize("sentence", URIS)
def test_model_uris_are_read_and_printed(sentence: str) -> None:
    text, name, revision = URIS[sentence]
    uri = ModelUri.parse(text)
    assert (str(uri), uri.name, uri.revision) == (text, name, revision)


REFUSED_URIS = {
    "no scheme": ("meta-llama/Llama-3.1-8B", "must begin with one of hf://"),
    "an unknown scheme": ("ftp://host/model", "must begin with one of hf://"),
    "a hub name without a namespace": ("hf://llama", "hf://NAMESPACE/NAME"),
    "an empty revision": ("hf://a/b@", "hf://NAMESPACE/NAME"),
    "a relative file": ("file://models", "file:///ABSOLUTE/PATH"),
    "upper case in a bucket": ("s3://Models/x", "s3://BUCKET/PREFIX"),
    "a space": ("hf://a/b c", "hf://NAMESPACE/NAME"),
    "a line break at the end": ("hf://a/b\n", "hf://NAMESPACE/NAME"),
}


@pytest.mark.parametrize("sentence", REFUSED_URIS)
def test_other_uris_are_refused_in_the_guides_words(sentence: str) -> None:
    text, said = REFUSED_URIS[sentence]
    with pytest.raises(ValueError, match="Invalid model URI") as caught:
        ModelUri.parse(text)
    assert said in str(caught.value)


@given(st.sampled_from(SCHEMES), st.text(max_size=30))
def test_no_uri_makes_the_parser_raise_anything_but_value_error(scheme: str, rest: str) -> None:
    try:
        uri = ModelUri.parse(f"{scheme}://{rest}")
    except ValueError:
        return
    assert str(uri) == f"{scheme}://{rest}"
