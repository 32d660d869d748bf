"""What people want of a service, as it changes."""

from dataclasses import dataclass

ANY = ""
"""A version that depends on what served before: whatever the operator takes it to mean."""


@dataclass(frozen=True)
class Wish:
    """What people wanted of one LLMDeployment, from a moment on."""

    since: float
    exists: bool = True
    version: str = ANY
    spec_version: str = ANY
    """What the spec says, whatever a pin holds."""
    revision: str = ANY
    """The hash of what the spec says; empty where that depends on what served before, or a pin holds."""
    pinned: bool = False
    goes_back: bool = False
    """Whether it is `previous-stable`, by a pin or by the spec: never what has not served."""
    replicas: int = 0
    surge: int = 0
    unavailable: int = 0

    @property
    def least(self) -> int:
        """So many pods must stay ready, as far as anybody can choose."""
        return max(0, self.replicas - self.unavailable)
