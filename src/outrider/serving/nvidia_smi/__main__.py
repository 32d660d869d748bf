"""`nvidia-smi`: the options that people and scripts use, for simulated GPUs."""

import argparse
import re
import sys
from collections.abc import Sequence
from datetime import datetime

from outrider.serving.nvidia_smi.fields import FIELDS, cell, header
from outrider.serving.nvidia_smi.state import Gpu, StateError, read_gpus
from outrider.serving.nvidia_smi.table import table

# Return values: nvidia-smi(1).
INVALID_ARGUMENT, NO_SUCH_DEVICE, NO_DRIVER, LOST = 2, 6, 9, 15


class Refusal(Exception):
    """What is printed instead of an answer, and the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Parser(argparse.ArgumentParser):
    """Says what is wrong as nvidia-smi does."""

    def error(self, message: str) -> None:  # type: ignore[override]
        unknown = re.search(r"unrecognized arguments: (\S+)", message)
        text = f"Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n\n{message}"
        if unknown:
            text = f"Option {unknown[1]} is not recognized. Please run 'nvidia-smi -h'."
        raise Refusal(text, INVALID_ARGUMENT)


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="nvidia-smi", description="Shows the simulated GPUs of this container.", allow_abbrev=False)
    parser.add_argument("-L", "--list-gpus", action="store_true", help="list the GPUs")
    parser.add_argument("-i", "--id", default="", help="show these only: indexes or UUIDs, separated by commas")
    parser.add_argument("--query-gpu", default=None, metavar="FIELDS", help="show these fields (--help-query-gpu)")
    parser.add_argument("--format", default="", metavar="csv[,noheader][,nounits]", help="how --query-gpu prints")
    parser.add_argument("--help-query-gpu", action="store_true", help="list the fields of --query-gpu")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Print the answer; the exit code."""
    try:
        options = make_parser().parse_args(arguments)
        if options.help_query_gpu:
            sys.stdout.write("\n".join(f'"{name}"' for name in FIELDS) + "\n")
            return 0
        wanted = None if options.query_gpu is None else query_fields(options.query_gpu, options.format)
        gpus = chosen(read_gpus(), options.id)
        if options.list_gpus:
            answer = "\n".join(f"GPU {gpu.index}: {gpu.product.name} (UUID: {gpu.uuid})" for gpu in gpus)
        elif wanted is not None:
            answer = csv(gpus, wanted, options.format.split(","))
        else:
            answer = table(gpus, datetime.now().astimezone())
    except Refusal as refusal:
        sys.stdout.write(refusal.message + "\n")
        return refusal.code
    except StateError as error:
        sys.stdout.write(f"NVIDIA-SMI has failed because it couldn't find the simulated GPUs: {error}\n")
        return NO_DRIVER
    sys.stdout.write(answer + "\n")
    return 0


def chosen(gpus: Sequence[Gpu], wanted: str) -> list[Gpu]:
    """The GPUs that are asked for. Raises `Refusal` where there are none, or one is lost."""
    names = {name.strip() for name in wanted.split(",") if name.strip()}
    found = [gpu for gpu in gpus if not names or names & {str(gpu.index), gpu.uuid, gpu.bus_id}]
    if not found:
        raise Refusal("No devices were found", NO_SUCH_DEVICE)
    for gpu in found:
        if gpu.lost:
            reason = "GPU is lost.  Reboot the system to recover this GPU"
            raise Refusal(f"Unable to determine the device handle for GPU{gpu.bus_id[4:]}: {reason}", LOST)
    return found


def query_fields(query: str, form: str) -> list[str]:
    """The names of the fields. Raises `Refusal` for one that there is not."""
    names = [name.strip() for name in query.split(",")]
    for name in names:
        if name not in FIELDS:
            raise Refusal(f'Field "{name}" is not a valid field to query.\n', INVALID_ARGUMENT)
    if form.split(",", maxsplit=1)[0] != "csv" or not set(form.split(",")) <= {"csv", "noheader", "nounits"}:
        raise Refusal("--query-gpu needs --format=csv[,noheader][,nounits]", INVALID_ARGUMENT)
    return names


def csv(gpus: Sequence[Gpu], names: Sequence[str], form: Sequence[str]) -> str:
    lines = [] if "noheader" in form else [", ".join(header(name) for name in names)]
    lines += [", ".join(cell(gpu, name, units="nounits" not in form) for name in names) for gpu in gpus]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
