"""When a container that ended may be run again, and an image that was not there may be asked for again."""

from outrider.local.kubelet.settings import Settings


class BackOff:
    """Kubernetes' crash-loop back-off: the first restart at once, then 10 s doubling to 5 minutes."""

    def __init__(self, settings: Settings, *, failures: int = 0) -> None:
        self._settings = settings
        self._failures = failures

    def next_delay(self, ran_for: float) -> float:
        """Seconds to wait after a run of so many seconds. A long run starts the counting anew."""
        if ran_for >= self._settings.backoff_reset:
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            return 0.0
        # 2**32 is far beyond any maximum, and does not overflow.
        return min(self._settings.backoff_max, self._settings.backoff_first * 2.0 ** min(self._failures - 2, 32))


def go_duration(seconds: float) -> str:
    """Seconds as Go prints them in Kubernetes' messages: 40s, 1m20s, 5m0s."""
    if seconds < 60:
        return f"{seconds:g}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
