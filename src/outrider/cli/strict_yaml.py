"""YAML as a cluster reads it: no key twice, and nothing but what JSON can say."""

from typing import Any

import msgspec
import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_Loader):  # type: ignore[misc]
    """Refuses what PyYAML takes silently: of two equal keys the first would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen: dict[tuple[str, str], yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            said = (key.tag, key.value)
            if said in seen:
                raise yaml.constructor.ConstructorError(
                    f"{key.value!r} is said first", seen[said], "and once more", key.start_mark
                )
            seen[said] = key.start_mark
        return super().construct_mapping(node, deep=deep)


def load_all(text: str) -> list[Any]:
    """The documents of a YAML text, as JSON would hold them: dates as text, keys as text.

    Raises:
        yaml.YAMLError: it is no YAML, or says a key twice; says where.
        TypeError, ValueError, RecursionError: it holds something that JSON cannot say, such as an object within itself.
    """
    documents = yaml.load_all(text, Loader=_StrictLoader)
    return [msgspec.json.decode(msgspec.json.encode(document)) for document in documents]
