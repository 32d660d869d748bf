"""Outrider keeps LLM services healthy in production."""

__version__ = "0.1.0"
