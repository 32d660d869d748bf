"""The blocks of the KV cache: taken, shared by equal prefixes, kept after use, evicted when room is needed."""

from collections import OrderedDict
from collections.abc import Sequence


class BlockPool:
    """A fixed number of blocks. A block that is full may be published under the hash of everything up to its end;
    then others with the same prefix share it, and it stays, evictable, when nobody uses it any more (least recently
    used goes first), as in vLLM's automatic prefix caching.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._unwritten = total
        """Blocks that nobody uses and that hold nothing worth keeping."""
        self._users: dict[int, int] = {}
        """Published blocks in use: hash to number of users."""
        self._evictable: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Blocks that can be taken now, evicting what nobody uses."""
        return self._unwritten + len(self._evictable)

    @property
    def usage(self) -> float:
        """Share of the blocks in use, 0 to 1: `vllm:kv_cache_usage_perc`."""
        return 1 - self.available / self.total

    def matching(self, hashes: Sequence[int]) -> int:
        """How many of the leading `hashes` are in the cache."""
        for position, block in enumerate(hashes):
            if block not in self._users and block not in self._evictable:
                return position
        return len(hashes)

    def take(self, shared: Sequence[int], fresh: int) -> bool:
        """Uses the published blocks `shared`, which must all be in the cache, and `fresh` new ones; or changes
        nothing and returns False where there is not enough room.
        """
        revived = sum(1 for block in shared if block in self._evictable)
        if self.available - revived < fresh:
            return False
        for block in shared:
            self._evictable.pop(block, None)
            self._users[block] = self._users.get(block, 0) + 1
        evicted = max(0, fresh - self._unwritten)
        for _ in range(evicted):
            self._evictable.popitem(last=False)
        self._unwritten -= fresh - evicted
        return True

    def publish(self, block: int) -> bool:
        """A fresh block is full and has hash `block` now. False if an equal one is there already: it stays private."""
        if block in self._users or block in self._evictable:
            return False
        self._users[block] = 1
        return True

    def release(self, shared: Sequence[int], private: int) -> None:
        """Ends the use of published blocks, and gives back `private` unpublished ones."""
        self._unwritten += private
        # The end of a sequence is of use to fewer others than its beginning, so it becomes evictable first.
        for block in reversed(shared):
            self._users[block] -= 1
            if not self._users[block]:
                del self._users[block]
                self._evictable[block] = None
