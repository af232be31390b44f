"""Dead letters: what goes into one, and how many are too many."""

from __future__ import annotations

from collections import deque
from typing import Literal

from runtime.broker import Message, OutgoingMessage
from runtime.errors import TooManyDeadLetters
from runtime.version import CODE_VERSION
from schemas.codec import record_id
from schemas.dead_letters import REPLAY_OF, DeadLetter, DeadLetterDecided
from schemas.identity import content_id
from schemas.topics import DEAD_LETTERS, TOPIC_BY_NAME, Topic


def dead_letter(topic: Topic, message: Message, *, reason: str, service: str) -> DeadLetter:
    """Return the dead letter of a message; a repeat of the same message gives the same one.

    Args:
        topic: Where the message stood; its name goes in without the installation's prefix.
        message: Kept with its original bytes.
        reason: What was expected and what was found.
        service: Who gave up.
    """
    return DeadLetter(
        topic=topic.name,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        headers=dict(message.headers),
        reason=reason,
        service=service,
        code_version=CODE_VERSION,
    )


def replay_of(letter: DeadLetter) -> str:
    """Return the id of the dead letter whose message was sent again and died again as this one; empty: of none.

    The header came with a message that somebody wrote, so it may be anything.
    """
    name = letter.headers.get(REPLAY_OF, b"").decode(errors="replace")
    return name if len(name) == len(content_id()) and name.isascii() and name.isalnum() else ""


def again(letter: DeadLetter, *, topic_prefix: str) -> OutgoingMessage:
    """Return the message of a dead letter as it goes to its topic again: the same bytes, and a header that says so.

    It gets the partition of its key; without a key, the one where it stood.

    Raises:
        ValueError: There is no such topic, or it is the one of dead letters: what is wrong there must not go round.
    """
    topic = TOPIC_BY_NAME.get(letter.topic)
    if topic is None or topic is DEAD_LETTERS:
        raise ValueError(f"a topic whose messages can be sent again is expected, the letter is of {letter.topic!r}")
    headers = tuple((name, value) for name, value in letter.headers.items() if name != REPLAY_OF)
    return OutgoingMessage(
        topic=topic.full_name(topic_prefix),
        key=letter.key,
        value=letter.value,
        headers=(*headers, (REPLAY_OF, record_id(letter).encode())),
        partition=letter.partition if letter.key is None and letter.partition < topic.partitions else None,
    )


def decision(
    letter: DeadLetter,
    what: Literal["replay", "drop"],
    *,
    decided_by: str,
    reason: str = "",
    place: tuple[int, int] | None = None,
) -> DeadLetterDecided:
    """Return the record of a decision; the same one again has the same id.

    Args:
        letter: What was decided about.
        what: Whether its message was sent again.
        decided_by: By whom.
        reason: Why.
        place: Of a replay: partition and offset where the message stands now.
    """
    partition, offset = place or (None, None)
    return DeadLetterDecided(
        decision_id=content_id("decision", record_id(letter), what),
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        decision=what,
        decided_by=decided_by,
        reason=reason,
        replayed_partition=partition,
        replayed_offset=offset,
    )


class DeadLetterLimit:
    """Stops a worker that refuses more than can be the senders' fault (like: arroyo).

    Args:
        max_consecutive: This many dead letters in a row are borne, one more is not.
        max_ratio: This part of the last ``window_size`` messages may be dead letters; judged once so many were seen.
        window_size: Messages that the ratio looks back on.
    """

    def __init__(self, *, max_consecutive: int = 1_000, max_ratio: float = 0.5, window_size: int = 5_000) -> None:
        if max_consecutive < 1 or window_size < 1 or not 0 < max_ratio <= 1:
            raise ValueError(
                "max_consecutive and window_size must be >= 1 and max_ratio in (0, 1], "
                f"were {max_consecutive}, {window_size} and {max_ratio}"
            )
        self._max_consecutive = max_consecutive
        self._max_ratio = max_ratio
        self._recent: deque[bool] = deque(maxlen=window_size)
        self._dead_recently = 0
        self._consecutive = 0

    def observe(self, *, is_dead: bool) -> None:
        """Count one message.

        Raises:
            TooManyDeadLetters: A limit is passed.
        """
        if len(self._recent) == self._recent.maxlen:
            self._dead_recently -= self._recent[0]
        self._recent.append(is_dead)
        self._dead_recently += is_dead
        self._consecutive = self._consecutive + 1 if is_dead else 0
        if self._consecutive > self._max_consecutive:
            raise TooManyDeadLetters(
                f"more than {self._max_consecutive} dead letters in a row: more likely this version cannot read what "
                "others write than that all of it is junk; look at the newest dead letters"
            )
        seen = len(self._recent)
        if seen == self._recent.maxlen and self._dead_recently > self._max_ratio * seen:
            raise TooManyDeadLetters(
                f"{self._dead_recently} of the last {seen} messages are dead letters, {self._max_ratio:.0%} are borne; "
                "look at the newest dead letters"
            )
