"""How much a caller may ask for: requests a minute, things a day, requests at once, bytes of a body."""
