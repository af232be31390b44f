"""HTTP in, requests out; what the log says, back over HTTP.

Consumes every topic but `dead-letters`, outside any consumer group: each gateway reads all of it. Produces
`forecast-requests`, `training-requests`, `ingest-requests`, `deployments`, and `dead-letters` for junk on `models`,
`deployments`, `forecasts`, `training-events` and `ingest-events`.

State: an SQL database that is a projection of the log (`tables`), and in memory the requests that somebody waits for
(`open_requests`). Rows are written together with the positions up to which the log was read, so a killed gateway goes
on where its database stands and neither loses nor doubles a row; a deleted database is made again from the log. Until
a started gateway has read what stood in the log it answers 503 where it would otherwise say something stale. Requests
that were accepted (200 or 202) stand in the log and are answered at their URL after a restart.

The way of a forecast: `routes.forecasts` pins the request to what the projection has read, `dispatcher` puts the
requests that wait for one partition into one record, the predictor answers on `forecasts`, and `projection` hands the
bytes of the answer to whoever waits before it writes them down.
"""
