"""`outrider completion`: completion scripts for shells."""

from typing import Literal

from outrider.cli.errors import Exit


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a completion script for your shell.

    For bash: `outrider completion bash > ~/.local/share/bash-completion/completions/outrider`.

    Parameters
    ----------
    shell
        bash, zsh or fish.
    """
    from outrider.cli.main import build_app

    print(build_app().generate_completion(shell=shell))
    return Exit.OK
