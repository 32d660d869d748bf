"""Events are news, not records: like an API server, the store forgets them after an hour. Unlike one it lives on a
laptop and also forgets the oldest where there are very many.
"""

from operator import itemgetter

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
    decoded = [(record, record.object()) for record in table.all()]
    # The newest first; of those of the same moment the order does not matter.
    events = sorted(((_last_seen(event), record, event) for record, event in decoded), key=itemgetter(0), reverse=True)
    limit = store.clock.now() - EVENT_SECONDS
    for place, (seen, record, event) in enumerate(events):
        if (seen < limit or place >= MOST_EVENTS) and not event["metadata"].get("finalizers"):
            store.commit(table, record, event, remove=True)


def _last_seen(event: Object) -> float:
    """When it last happened: an event that repeats is counted in its series, and stays."""
    series = event.get("series") or {}
    return max(
        parse_time(series.get("lastObservedTime")) or 0.0, parse_time(event["metadata"]["creationTimestamp"]) or 0.0
    )
