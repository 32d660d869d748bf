"""Puts a corpus to both servers and says where they differ."""

import asyncio
import secrets

from parity.compare import Difference, differences, normalised
from parity.servers import Server, local_server, real_server
from parity.steps import Case, Corpus

from outrider.kube.kubeconfig import ClusterConfig

_AT_ONCE = 4
"""Cases that run at the same time: each has a namespace of its own."""


async def _compared(sentence: str, case: Case, local: Server, real: Server) -> list[Difference]:
    namespace = f"parity-{secrets.token_hex(5)}"
    ours, theirs = await asyncio.gather(local.run(case, namespace), real.run(case, namespace))
    return differences(sentence, case, normalised(ours, namespace), normalised(theirs, namespace))


async def compare(corpus: Corpus, config: ClusterConfig) -> list[Difference]:
    """All differences between the store and the API server of `config`, known or not, in the order of the corpus."""
    limit = asyncio.Semaphore(_AT_ONCE)
    async with local_server() as local, real_server(config) as real:

        async def one(sentence: str, case: Case) -> list[Difference]:
            async with limit:
                try:
                    return await _compared(sentence, case, local, real)
                except Exception as error:
                    error.add_note(f"in the case: {sentence}")
                    raise

        found = await asyncio.gather(*(one(sentence, case) for sentence, case in corpus.items()))
    return [difference for part in found for difference in part]
