"""Asks a gateway for a forecast with the Python client.

Run it beside a gateway that knows the series: `python examples/client.py`. `FORETOPIC_URL` and `FORETOPIC_API_KEY` say
which gateway and who asks, where it is another than that of `foretopic up`.
"""

from foretopic import Client

with Client() as client:
    forecast = client.forecast("market/AAPL@1d", horizon=5)
    print(forecast.steps[0].median)
