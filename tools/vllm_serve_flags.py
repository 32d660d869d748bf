"""Write down what `vllm serve` accepts: run this with the Python of an installed vLLM, whatever its device.

    /path/to/vllm/bin/python tools/vllm_serve_flags.py tests/golden

The file that it writes, `vllm-serve-flags.json`, is what the arguments that we render are tested against.
"""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
from vllm.model_executor.model_loader import _LOAD_FORMAT_TO_MODEL_LOADER
from vllm.utils.argparse_utils import FlexibleArgumentParser

_TAKES = {0: "nothing", None: "one", "?": "optional", "*": "many", "+": "many"}


def flags(parser: argparse.ArgumentParser) -> dict[str, dict[str, Any]]:
    """Of every long flag: what it takes, of which type, and which values, where the parser says so."""
    found: dict[str, dict[str, Any]] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        flag: dict[str, Any] = {"takes": _TAKES[action.nargs]}  # type: ignore[index]
        if action.type in (int, float):
            flag["type"] = action.type.__name__
        if action.choices:
            flag["choices"] = sorted(str(choice) for choice in action.choices)
        found |= {option: flag for option in action.option_strings if option.startswith("--")}
    return found


def main() -> None:
    found = flags(make_arg_parser(FlexibleArgumentParser()))
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found))
    head = {
        "version": version("vllm").partition("+")[0],
        "quantization": sorted(QUANTIZATION_METHODS),
        "load-format": sorted(_LOAD_FORMAT_TO_MODEL_LOADER),
    }
    target = Path(sys.argv[1]) / "vllm-serve-flags.json"
    first = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    target.write_text(f'{{\n{first} "flags": {{\n{lines}\n }}\n}}\n', encoding="utf-8")
    print(f"{target}: {len(found)} flags of vLLM {head['version']}")


if __name__ == "__main__":
    main()
