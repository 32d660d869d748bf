"""The whole system in one event loop and in virtual time, with everything that can go wrong, from a seed.

A `Scenario` says what happens and when; `run` plays it on the real operator, the local world's real store and actors,
and watches what is promised; `shrink` looks for the shortest scenario that still breaks a promise; `sweep` plays many.
"""
