"""What the GPUs are like that can be simulated.

Memory as nvidia-smi shows it, power limits and clocks: NVIDIA's data sheets of the products.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Product:
    """One kind of GPU."""

    name: str
    """As nvidia-smi prints it."""
    memory: int
    """MiB."""
    power_limit: int
    """W."""
    sm_clock: int
    """MHz, under load."""
    memory_clock: int
    """MHz."""


_PRODUCTS = {
    "NVIDIA-A10G": Product("NVIDIA A10G", 23028, 300, 1710, 6251),
    "NVIDIA-A100-SXM4-40GB": Product("NVIDIA A100-SXM4-40GB", 40960, 400, 1410, 1215),
    "NVIDIA-A100-SXM4-80GB": Product("NVIDIA A100-SXM4-80GB", 81920, 400, 1410, 1593),
    "NVIDIA-B200": Product("NVIDIA B200", 183359, 1000, 1965, 3996),
    "NVIDIA-H100-80GB-HBM3": Product("NVIDIA H100 80GB HBM3", 81559, 700, 1980, 2619),
    "NVIDIA-H200": Product("NVIDIA H200", 143771, 700, 1980, 3201),
    "NVIDIA-L4": Product("NVIDIA L4", 23034, 72, 2040, 6251),
    "NVIDIA-L40S": Product("NVIDIA L40S", 46068, 350, 2520, 9001),
    "Tesla-T4": Product("Tesla T4", 15360, 70, 1590, 5001),
}
"""By the label `nvidia.com/gpu.product`, in which GPU feature discovery writes dashes for spaces."""


def product_of(label: str) -> Product:
    """The product of a label; one that is not known is something in between."""
    return _PRODUCTS.get(label) or Product(label.replace("-", " ", 1), 24576, 300, 1700, 5001)
