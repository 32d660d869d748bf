"""YAML as a cluster reads it: no key twice, and nothing but what JSON can say."""

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MOST_VALUES = 500_000
"""Values in one document once its anchors are written out. An API server takes 3 MiB: fewer than that."""

_TAG = "tag:yaml.org,2002:"
_TEMPLATE = "is this a template? Render it first, or put the value in quotes"


class YamlError(ValueError):
    """A text that cannot be taken as YAML. The message names line and column, what is wrong and what to do."""


class _StrictLoader(_Loader):  # type: ignore[misc]
    """Refuses what PyYAML takes and JSON cannot say. A date stays the text that was written, as in a cluster."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }

    def construct_finite(self, node: yaml.ScalarNode) -> Any:
        number = self.construct_yaml_float(node)
        if number - number != 0:  # infinity, or no number
            raise _at(node.start_mark, f"{node.value} is no number that JSON can say: write a finite one")
        return number

    def construct_foreign(self, node: yaml.Node) -> Any:
        raise _at(node.start_mark, f"the tag {_short(node.tag)} is not known: remove it")


_StrictLoader.add_constructor(f"{_TAG}float", _StrictLoader.construct_finite)
_StrictLoader.add_constructor(None, _StrictLoader.construct_foreign)


def _short(tag: str) -> str:
    return f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else tag


def _at(mark: yaml.Mark, message: str) -> YamlError:
    return YamlError(f"line {mark.line + 1}, column {mark.column + 1}: {message}")


def load_all(text: str) -> list[Any]:
    """The documents of a YAML text, as JSON would hold them: dates as text, keys as text.

    Raises:
        YamlError: it is no YAML, says a key twice, or holds something that JSON cannot say; says where.
    """
    try:
        return list(_documents(text))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"line {line}: {error.reason}: remove it") from error
    except yaml.MarkedYAMLError as error:
        raise _explained(error, text) from error
    except RecursionError as error:
        raise YamlError("is nested too deeply: no manifest needs that") from error


def _documents(text: str) -> Iterator[Any]:
    loader = _StrictLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            _check(node)
            try:
                yield msgspec.json.decode(msgspec.json.encode(loader.construct_document(node)))
            except YamlError:
                raise
            except (TypeError, ValueError) as error:
                raise _at(node.start_mark, f"holds something that JSON cannot say: {error}") from error
    finally:
        loader.dispose()


def _check(root: yaml.Node) -> None:
    """Look at every value once, before any is made.

    Anchors may name the same value many times over, and that again: a few lines can mean billions of values.

    Raises:
        YamlError: a key is said twice or is no text, an object contains itself, or there are too many values.
    """
    sizes: dict[int, int] = {}
    under_way: set[int] = set()

    def size(node: yaml.Node) -> int:
        """How many values the node means, written out."""
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in under_way:
            raise _at(node.start_mark, "contains itself, which JSON cannot say: write the value out")
        under_way.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
            parts = [value for _, value in node.value]
        else:
            parts = node.value
        total = 1 + sum(map(size, parts))
        if total > MOST_VALUES:
            raise _at(node.start_mark, f"means more than {MOST_VALUES:,} values: split the file, or use no anchors")
        under_way.discard(id(node))
        sizes[id(node)] = total
        return total

    size(root)


def _check_keys(node: yaml.MappingNode) -> None:
    seen: dict[str, yaml.Mark] = {}
    for key, _ in node.value:
        if key.tag == f"{_TAG}merge":
            continue
        if not isinstance(key, yaml.ScalarNode):
            raise _at(key.start_mark, f"a key must be text, not a list or an object: {_TEMPLATE}")
        if key.tag in (f"{_TAG}bool", f"{_TAG}null"):
            meaning = "nothing" if key.tag == f"{_TAG}null" else "true or false"
            raise _at(key.start_mark, f"the key {key.value!r} means {meaning} in YAML: put it in quotes")
        if key.value in seen:
            first = seen[key.value].line + 1
            raise _at(key.start_mark, f"{key.value!r} is said again, after line {first}: keep one of them")
        seen[key.value] = key.start_mark


_INDENTED = "is the line indented like the lines before it?"
_HINTS = (
    ("exceeded maximum nesting depth", "is nested too deeply: no manifest needs that"),
    ("mapping values are not allowed", "a second ': ' on this line: put the value in quotes, or begin a new line"),
    ("did not find expected key", f"no key where one should be: {_INDENTED}"),
    (
        "did not find expected '-' indicator",
        f"no '-' where one should be: {_INDENTED}",
    ),
    ("did not find expected node content", "a value is missing here: was a bracket not closed?"),
    ("could not find expected ':'", "a key without ': ' after it"),
    ("did not find expected alphabetic", "a name must follow & or *: put a value that begins so in quotes"),
    ("unknown escape character", "\\ begins an escape in double quotes: write \\\\, or use single quotes"),
    ("invalid Unicode character escape", "the escape is no character: write the character itself"),
    ("found unexpected end of stream", "the text ends within quotes: close them"),
    (
        "found undefined alias",
        "no anchor of this name is defined above: define it with &, or put the value in quotes",
    ),
)
"""What libyaml says, and what its reader should know."""


def _explained(error: yaml.MarkedYAMLError, text: str) -> YamlError:
    said = str(error.problem)
    mark = error.problem_mark or error.context_mark
    hint = next((hint for known, hint in _HINTS if known in said), "")
    if "did not find expected ',' or" in said and error.context_mark is not None:
        line, column = error.context_mark.line + 1, error.context_mark.column + 1
        hint = f"the bracket opened in line {line}, column {column} is not closed before this: close it"
    if "cannot start any token" in said and mark is not None:
        lines = text.splitlines()
        character = lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""
        if character == "\t":
            hint = "a tab: YAML is indented with spaces"
        else:
            hint = f"a value cannot begin with {character!r}: put it in quotes"
    message = hint or " ".join(part for part in (error.context, said) if part)
    return _at(mark, message) if mark is not None else YamlError(message)
