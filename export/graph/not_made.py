"""The one way to say that a format cannot be made from this network or run."""

from __future__ import annotations


class FormatNotMadeError(ValueError):
    """A format that this network or run cannot have; the others are made. The message is the reason in parity.json."""
