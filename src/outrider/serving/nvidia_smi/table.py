"""What plain `nvidia-smi` prints: the table that everybody knows."""

from collections.abc import Sequence
from datetime import datetime

from outrider.serving.nvidia_smi.fields import CUDA, DRIVER, value_of
from outrider.serving.nvidia_smi.state import Gpu

_WIDE = "+" + "-" * 89 + "+"
_ROW_END = "+-----------------------------------------+------------------------+----------------------+"
_HEAD = f"""\
{_WIDE}
| NVIDIA-SMI {DRIVER:<22} Driver Version: {DRIVER:<14} CUDA Version: {CUDA:<8} |
|-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|                                         |                        |               MIG M. |
|=========================================+========================+======================|"""
_PROCESSES = f"""\
{_WIDE}
| Processes:                                                                              |
|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |
|        ID   ID                                                               Usage      |
|=========================================================================================|
|  No running processes found                                                             |
{_WIDE}"""
"""In a container nvidia-smi sees no processes: they have numbers of another namespace."""


def table(gpus: Sequence[Gpu], now: datetime) -> str:
    """The whole table."""
    lines = [now.strftime("%a %b %e %H:%M:%S %Y").ljust(len(_WIDE)), _HEAD]
    for gpu in gpus:
        lines += [*_row(gpu), _ROW_END]
    return "\n".join([*lines, " " * len(_WIDE), _PROCESSES])


def _row(gpu: Gpu) -> list[str]:
    def number(name: str) -> float:
        return float(value_of(gpu, name))

    power = f"{number('power.draw'):.0f}W / {number('power.limit'):4.0f}W"
    memory = f"{number('memory.used'):.0f}MiB / {number('memory.total'):6.0f}MiB"
    errors = str(value_of(gpu, "ecc.errors.uncorrected.volatile.total"))
    utilization = f"{number('utilization.gpu'):.0f}%"
    heat = f"{number('temperature.gpu'):3.0f}C    {value_of(gpu, 'pstate'):<5}"
    return [
        f"| {gpu.index:3d}  {gpu.product.name[:30]:<30} On  | {gpu.bus_id:>18} Off | {errors:>20} |",
        f"| N/A  {heat} {power:>20} | {memory:>22} | {utilization:>7}      Default |",
        f"| {'':39} | {'':22} | {'Disabled':>20} |",
    ]
