"""The steps that bring a database of the gateway up to date."""
