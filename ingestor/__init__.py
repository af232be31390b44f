"""The ingestor: data from outside becomes observations.

Consumes ``ingest-requests``, fetches each series from the first of the named sources that can be reached, and
publishes what the log does not have yet on ``observations``, what the quality gate holds back on ``quarantine``, and
how it went on ``ingest-events``. Consumes ``quarantine`` for the decisions of people: released rows are published.
Follows ``ingest-schedules`` and ``training-requests``, and writes what is due to ``ingest-requests`` and
``training-requests``. Its state is the series in its partitions, what is held back of them, their schedules, and which
requests have ended; all is read from the log again when a partition is assigned. After a restart a request that had
not ended is fetched again, and only what is missing is published.
"""
