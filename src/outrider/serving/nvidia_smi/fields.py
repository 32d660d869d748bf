"""What `--query-gpu` can be asked for, and what a GPU answers.

Names, units and notation: `nvidia-smi --help-query-gpu` of driver 570. A GPU that a container has counts as one on
which a model server has taken its memory, as vLLM does at its start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outrider.serving.nvidia_smi.state import Gpu

DRIVER, CUDA = "570.172.08", "12.8"
MEMORY_TAKEN = 0.9
"""The share of a GPU's memory that is in use: vLLM's own default is about that."""
POWER_DRAWN = 0.35
"""The share of the power limit that a GPU draws with a model loaded and few requests."""
NOT_AVAILABLE = "[N/A]"


@dataclass(frozen=True)
class Field:
    """One field. `value` is a number or a text; texts are printed without the unit."""

    unit: str
    value: Callable[[Gpu], Any]
    decimals: int = 0


def _used(gpu: Gpu) -> int:
    used = gpu.overrides.get("memory.used")
    return round(gpu.product.memory * MEMORY_TAKEN) if used is None else int(used)


_NAMES = Field("", lambda gpu: gpu.product.name)
_UUIDS = Field("", lambda gpu: gpu.uuid)
_BUSES = Field("", lambda gpu: gpu.bus_id)
_SERIALS = Field("", lambda gpu: 1_650_000_000_000 + int(gpu.uuid[-6:], 16))
_ZERO = Field("", lambda _: 0)
_ABSENT = Field("", lambda _: NOT_AVAILABLE)
_INACTIVE = Field("", lambda _: "Not Active")

FIELDS: dict[str, Field] = {
    "timestamp": Field("", lambda _: datetime.now().astimezone().strftime("%Y/%m/%d %H:%M:%S.%f")[:-3]),
    "driver_version": Field("", lambda _: DRIVER),
    "name": _NAMES,
    "gpu_name": _NAMES,
    "serial": _SERIALS,
    "gpu_serial": _SERIALS,
    "uuid": _UUIDS,
    "gpu_uuid": _UUIDS,
    "pci.bus_id": _BUSES,
    "gpu_bus_id": _BUSES,
    "pci.domain": Field("", lambda _: "0x0000"),
    "pci.bus": Field("", lambda gpu: f"0x{gpu.bus_id[9:11]}"),
    "pci.device": Field("", lambda _: "0x00"),
    "index": Field("", lambda gpu: gpu.index),
    "display_mode": Field("", lambda _: "Disabled"),
    "display_active": Field("", lambda _: "Disabled"),
    "persistence_mode": Field("", lambda _: "Enabled"),
    "compute_mode": Field("", lambda _: "Default"),
    "mig.mode.current": Field("", lambda _: "Disabled"),
    "mig.mode.pending": Field("", lambda _: "Disabled"),
    "vbios_version": Field("", lambda _: "92.00.45.00.03"),
    "fan.speed": Field("%", lambda _: NOT_AVAILABLE),
    "pstate": Field("", lambda _: "P0"),
    "memory.total": Field("MiB", lambda gpu: gpu.product.memory),
    "memory.reserved": Field("MiB", lambda gpu: round(gpu.product.memory * 0.01)),
    "memory.used": Field("MiB", _used),
    "memory.free": Field("MiB", lambda gpu: max(0, gpu.product.memory - _used(gpu))),
    "utilization.gpu": Field("%", lambda _: 0),
    "utilization.memory": Field("%", lambda _: 0),
    "temperature.gpu": Field("", lambda gpu: 36 + gpu.device % 4),
    "temperature.memory": Field("", lambda gpu: 42 + gpu.device % 4),
    "power.management": Field("", lambda _: "Enabled"),
    "power.draw": Field("W", lambda gpu: gpu.product.power_limit * POWER_DRAWN, 2),
    "power.draw.average": Field("W", lambda gpu: gpu.product.power_limit * POWER_DRAWN, 2),
    "power.draw.instant": Field("W", lambda gpu: gpu.product.power_limit * POWER_DRAWN, 2),
    "power.limit": Field("W", lambda gpu: gpu.product.power_limit, 2),
    "enforced.power.limit": Field("W", lambda gpu: gpu.product.power_limit, 2),
    "power.default_limit": Field("W", lambda gpu: gpu.product.power_limit, 2),
    "power.max_limit": Field("W", lambda gpu: gpu.product.power_limit, 2),
    "clocks.gr": Field("MHz", lambda gpu: gpu.product.sm_clock),
    "clocks.current.graphics": Field("MHz", lambda gpu: gpu.product.sm_clock),
    "clocks.sm": Field("MHz", lambda gpu: gpu.product.sm_clock),
    "clocks.current.sm": Field("MHz", lambda gpu: gpu.product.sm_clock),
    "clocks.mem": Field("MHz", lambda gpu: gpu.product.memory_clock),
    "clocks.current.memory": Field("MHz", lambda gpu: gpu.product.memory_clock),
    "clocks.max.sm": Field("MHz", lambda gpu: gpu.product.sm_clock),
    "clocks.max.memory": Field("MHz", lambda gpu: gpu.product.memory_clock),
    "clocks_event_reasons.active": Field("", lambda _: "0x0000000000000000"),
    "clocks_throttle_reasons.active": Field("", lambda _: "0x0000000000000000"),
    "ecc.mode.current": Field("", lambda _: "Enabled"),
    "ecc.mode.pending": Field("", lambda _: "Enabled"),
    "retired_pages.pending": _ABSENT,
    "remapped_rows.correctable": _ZERO,
    "remapped_rows.uncorrectable": _ZERO,
    "remapped_rows.pending": Field("", lambda _: "No"),
    "remapped_rows.failure": Field("", lambda _: "No"),
    "pcie.link.gen.current": Field("", lambda _: 4),
    "pcie.link.gen.max": Field("", lambda _: 4),
    "pcie.link.width.current": Field("", lambda _: 16),
    "pcie.link.width.max": Field("", lambda _: 16),
    **{
        f"ecc.errors.{kind}.{scope}.{memory}": _ZERO
        for kind in ("corrected", "uncorrected")
        for scope in ("volatile", "aggregate")
        for memory in ("device_memory", "dram", "sram", "total")
    },
    **{
        f"clocks_{word}_reasons.{reason}": _INACTIVE
        for word in ("event", "throttle")
        for reason in (
            *("gpu_idle", "applications_clocks_setting", "sw_power_cap", "hw_slowdown", "hw_thermal_slowdown"),
            *("hw_power_brake_slowdown", "sw_thermal_slowdown", "sync_boost"),
        )
    },
}


def value_of(gpu: Gpu, name: str) -> Any:
    """What the GPU answers: what its state says, else what one of its kind says."""
    override = gpu.overrides.get(name)
    return FIELDS[name].value(gpu) if override is None else override


def header(name: str) -> str:
    unit = FIELDS[name].unit
    return f"{name} [{unit}]" if unit else name


def cell(gpu: Gpu, name: str, *, units: bool) -> str:
    """The field as one cell of the CSV."""
    field, value = FIELDS[name], value_of(gpu, name)
    if isinstance(value, str):
        return value
    text = f"{value:.{field.decimals}f}" if field.decimals else str(value)
    return f"{text} {field.unit}" if units and field.unit else text
