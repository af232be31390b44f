"""The ingestor: data from outside becomes observations.

Consumes ``ingest-requests``, fetches each series from the first of the named sources that can be reached, and
publishes what the log does not have yet on ``observations``, and how it went on ``ingest-events``. Its state is the
latest view of the series in its partitions and which requests have ended; both are read from the log again when a
partition is assigned. After a restart a request that had not ended is fetched again, and only what is missing is
published.
"""
