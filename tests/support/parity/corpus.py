"""The whole corpus."""

from parity.corpus_apply import APPLIES
from parity.corpus_cluster import CLUSTER
from parity.corpus_custom import CUSTOM
from parity.corpus_deletion import DELETION
from parity.corpus_lists import LISTS
from parity.corpus_network import NETWORK
from parity.corpus_objects import OBJECTS
from parity.corpus_patches import PATCHES
from parity.corpus_workloads import WORKLOADS
from parity.steps import Corpus

_PARTS = (OBJECTS, WORKLOADS, PATCHES, APPLIES, LISTS, DELETION, NETWORK, CLUSTER, CUSTOM)
CORPUS: Corpus = {sentence: case for part in _PARTS for sentence, case in part.items()}
assert len(CORPUS) == sum(map(len, _PARTS)), "every sentence is there once"
