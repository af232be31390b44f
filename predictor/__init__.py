"""Answers requests for forecasts, each once, from the log prefixes that it pins.

Consumes `forecast-requests` and `observations` as consumer group *topic prefix* + `predictor`, through Faust. A request
without ``as_of`` is written again with the offsets that were read; a new observation of a deployed series becomes
such a request by itself. A request in another partition than its key says is written again where it belongs.
Reads `models` and `deployments` whole, outside the group.

Produces `forecasts` (one `ForecastIssued` or `ForecastRefused` a request, into the partition of the request), pinned
and moved `forecast-requests`, and `dead-letters` for junk on the two topics that it consumes.

State, in memory only: the observations of its partitions, all releases and deployments, loaded models, and the ids of
the requests answered last (`FORETOPIC_PREDICTOR_ANSWERED_LIMIT` a partition).

On a restart, and for every partition that it is given, the state is read from the log again before anything is handled;
requests whose offsets were not committed come again, and those whose answers stand in `forecasts` are passed over.
"""
