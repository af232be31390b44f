"""The documents that the gateway answers with, as types."""
