"""Every topic of Foretopic and every record that travels on one.

`topics` names the topics, one module a record family holds the records, `codec` turns a record into the bytes
and CloudEvents headers of a Kafka message and back, `identity` computes the ids. Nothing here does I/O.
"""
