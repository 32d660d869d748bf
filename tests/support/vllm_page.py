"""A real vLLM server's `/metrics` page, with values that tell the lines apart."""

from pathlib import Path

_NAMES = (Path(__file__).parents[1] / "golden" / "vllm-metrics.txt").read_text().splitlines()


def value_of(series: str) -> float:
    """The value in `VLLM_PAGE` of the only series that begins so: the number of its line."""
    [number] = [number for number, line in enumerate(_NAMES, start=1) if line.startswith(series)]
    return float(number)


VLLM_PAGE = "".join(
    f"{line}\n" if line.startswith("#") else f"{line} {number}.0\n" for number, line in enumerate(_NAMES, start=1)
)
"""The golden has names, types, labels and buckets but no values: each series gets the number of its line."""
IDLE_PAGE = "".join(f"{line}\n" if line.startswith("#") else f"{line} 0.0\n" for line in _NAMES)
"""The same of a server that nobody has asked anything."""
