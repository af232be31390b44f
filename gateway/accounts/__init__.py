"""Who may use the gateway: people, organisations, projects, keys, and what they asked to be told.

This is the one part of the gateway that is no projection of the log: secrets and personal data do not belong on a topic
that is kept for ever (decision 0014). Several gateways share one accounts database; back it up.
"""
