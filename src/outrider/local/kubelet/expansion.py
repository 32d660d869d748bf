"""`$(VAR)` in a container's command, args and env, as Kubernetes expands it.

Rules: https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/ and the API
documentation of `Container.command`: `$$` is a literal `$`, and a reference to what is not defined stays as it is.
"""

from collections.abc import Mapping


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The text with its references replaced."""
    out: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        out.append(text[position:dollar])
        following = text[dollar + 1 : dollar + 2]
        end = text.find(")", dollar + 2) if following == "(" else -1
        if following == "$":
            out.append("$")
            position = dollar + 2
        elif end >= 0:
            name = text[dollar + 2 : end]
            out.append(variables.get(name, f"$({name})"))
            position = end + 1
        else:
            out.append("$" + following)
            position = dollar + 1 + len(following)
    out.append(text[position:])
    return "".join(out)
