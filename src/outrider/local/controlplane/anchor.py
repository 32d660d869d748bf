"""Keeps a network namespace for as long as it lives. Its world's folder is named in its environment.

The pods of a world outlive a crash of the process that runs it, and with them must their addresses: the next start
enters the namespace that this process keeps. It holds the lock by which it is known to live.
Runs alone, without Outrider's modules.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the world, which ends this process last
    while True:
        signal.pause()
