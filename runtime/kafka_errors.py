"""What kafka-python raises, in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import errors

from runtime.errors import BrokerUnavailable, TransientError

#: The broker does not answer, or has not answered in time.
_UNAVAILABLE = (
    errors.KafkaConnectionError,
    errors.KafkaTimeoutError,
    errors.NodeNotReadyError,
    errors.BrokerNotAvailableError,
    errors.MetadataEmptyBrokerList,
)
#: kafka-python does not call these retriable, since a commit cannot be retried as it is; the work can.
_GROUP_MOVED_ON = (
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.FencedInstanceIdError,
)
_BAD_ARGUMENT = (
    errors.InvalidTopicError,
    errors.InvalidPartitionsError,
    errors.InvalidReplicationFactorError,
    errors.InvalidConfigurationError,
    errors.InvalidGroupIdError,
    errors.IllegalStateError,
    errors.IllegalArgumentError,
    errors.PolicyViolationError,
)


@contextmanager
def in_our_words(doing: str) -> Iterator[None]:
    """Turn kafka-python's errors into those that the broker port promises; ``doing`` says what failed.

    Raises:
        BrokerUnavailable: No answer.
        TransientError: May work later.
        ValueError: A bad argument.
    """
    try:
        yield
    except _UNAVAILABLE as error:
        raise BrokerUnavailable(f"{doing}: {_text(error)}") from error
    except _GROUP_MOVED_ON as error:
        raise TransientError(f"{doing}: the group has moved on, {_text(error)}") from error
    except _BAD_ARGUMENT as error:
        raise ValueError(f"{doing}: {_text(error)}") from error
    except errors.KafkaError as error:
        if not error.retriable:
            raise
        raise TransientError(f"{doing}: {_text(error)}") from error


def _text(error: errors.KafkaError) -> str:
    return f"{type(error).__name__} {error}".strip()
