"""The store answers as the real API server does, but for a list of differences that people have reviewed."""

import asyncio
from pathlib import Path

from control_plane import RunningPlane
from parity.corpus import CORPUS
from parity.known import read_known, review
from parity.run import compare

KNOWN = Path(__file__).with_name("known_differences.yaml")


def test_the_corpus_is_answered_as_by_the_real_api_server(bare_plane: RunningPlane) -> None:
    found = asyncio.run(compare(CORPUS, bare_plane.config))
    new, stale = review(found, read_known(KNOWN))
    report = [f"differs: {each.case}\n    {each}" for each in new]
    report += [f"no longer differs, take the line out: {line.text} (step {line.step})" for line in stale]
    assert not report, "\n".join(report)
