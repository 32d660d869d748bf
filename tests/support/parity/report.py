"""Prints every difference between the store and an API server: `report.py KUBECONFIG [WORDS OF A SENTENCE]`.

For those who work on the store or review the list of known differences; the test of the corpus is what decides.
"""

import asyncio
import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity.corpus import CORPUS
from parity.run import compare

from outrider.kube.kubeconfig import load_kubeconfig


def main() -> None:
    words = " ".join(sys.argv[2:])
    corpus = {sentence: case for sentence, case in CORPUS.items() if words in sentence}
    found = asyncio.run(compare(corpus, load_kubeconfig([Path(sys.argv[1])])))
    for sentence, group in groupby(found, lambda difference: difference.case):
        print(sentence)
        for difference in group:
            print(f"    {difference}")
            if difference.path == "code":
                print(f"      {corpus[sentence][difference.step].told()}")
    steps = sum(map(len, corpus.values()))
    differing = len({(difference.case, difference.step) for difference in found})
    print(f"{len(corpus)} cases, {steps} operations: {steps - differing} answered alike, {differing} not")


if __name__ == "__main__":
    main()
