"""What can go wrong in any process, by its fate.

    RuntimeFault
    ├── InvalidMessage       these bytes will never be handled: dead letter, go on
    ├── TransientError       may work later: back off, same message again
    │   ├── BrokerUnavailable    the broker does not answer
    │   └── DeliveryFailed       a message was not acknowledged in time
    ├── TooManyDeadLetters   more messages are refused than can be the senders' fault: stop
    └── SettingsError        settings cannot be used: do not start

Anything else is a bug or a broken invariant: the worker stops without committing.
"""

from __future__ import annotations


class RuntimeFault(Exception):
    """Anything that this package raises on purpose."""


class InvalidMessage(RuntimeFault):
    """Say that a message can never be handled; ``reason`` goes into its dead letter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TransientError(RuntimeFault):
    """Say that the same work may succeed later."""


class BrokerUnavailable(TransientError):
    """Say that the broker does not answer."""


class DeliveryFailed(TransientError):
    """Say that a message was not acknowledged; whether it stands in the log is not known."""


class TooManyDeadLetters(RuntimeFault):
    """Say that so many messages were refused that we are the ones who are wrong."""


class SettingsError(RuntimeFault):
    """Name every setting that cannot be used, each with what it may be."""
