"""The trainer: wishes for model versions in, released versions out.

Consumes `training-requests` (as a group), and outside the group `models`, `deployments` and its own partitions of
`training-events`, from which it learns what has already been done. Reads `observations` up to the offsets that a
request pins, in the child process that trains.

Produces `training-events`, `models` and, after each release, one record of `deployments` that counts only where the
model name has no champion yet. Junk goes to `dead-letters`.

Keeps no state of its own. A restart reads every request again that has not ended: one whose release stands in
the log is not trained again but gets the steps that are missing (deployment, MLflow run, final event); any other is
trained again from the start and gives the same artefact, because it reads the same prefixes of the log.
"""
