"""Webhooks: events of a project, sent to where its people say, signed, until they are taken.

A consumer group on the topics of events makes a row of the accounts database for each event and webhook; the senders
of all gateways take rows that are due. The id of a row is that of webhook and record, so what is read or sent again has
the same one. Delivery is at least once, in no promised order.
"""
