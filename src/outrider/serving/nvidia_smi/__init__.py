"""`nvidia-smi` for simulated GPUs: `python -m outrider.serving.nvidia_smi`."""
