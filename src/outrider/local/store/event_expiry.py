"""Events are news, not records: like an API server, the store forgets them after an hour. Unlike one it lives on a
laptop and also forgets the oldest where there are very many.
"""

from operator import attrgetter

from outrider.api.meta import parse_time
from outrider.kube.api import Object
from outrider.kube.objects import EVENT
from outrider.local.store.store import Store

EVENT_SECONDS = 3600.0
"""The default of kube-apiserver's --event-ttl."""
MOST_EVENTS = 1000
"""3 KB each with what belongs to them."""
SWEEP_AFTER = 100
"""Looking through all events costs more than making one, so that it is done once in so many."""


def expire_events(store: Store) -> None:
    """Remove the events that were last seen to happen an hour ago, and the oldest of too many. To be called before each
    new event.
    """
    table = store.table(EVENT)
    store.events_made += 1
    if store.events_made % SWEEP_AFTER:
        return
    newest_first = sorted(table.all(), key=attrgetter("version"), reverse=True)
    limit = store.clock.now() - EVENT_SECONDS
    for place, record in enumerate(newest_first):
        # One at a time: a thousand events decoded at once take 5 MB.
        event = record.object()
        if (place >= MOST_EVENTS or _last_seen(event) < limit) and not event["metadata"].get("finalizers"):
            store.commit(table, record, event, remove=True)


def _last_seen(event: Object) -> float:
    """When it last happened: an event that repeats is counted in its series, and stays."""
    series = event.get("series") or {}
    return max(
        parse_time(series.get("lastObservedTime")) or 0.0, parse_time(event["metadata"]["creationTimestamp"]) or 0.0
    )
