"""Ask a running stack for a forecast over HTTP, with nothing but Python: ``python examples/forecast_over_http.py``."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

URL = os.environ.get("FORETOPIC_URL", "http://127.0.0.1:5000")
PATIENCE_SECONDS = 60


def call(method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return status, document and headers of an answer, problems included."""
    data = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    given = {"Content-Type": "application/json", **named}
    request = urllib.request.Request(URL + path, data, given, method=method)  # noqa: S310  # whoever runs it names the URL
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            return answer.status, json.load(answer), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), dict(error.headers)


def main(series_id: str, horizon: int = 5) -> int:
    # The key makes it safe to send the same request again: it is answered once, and all get the same forecast.
    key = uuid.uuid4().hex
    body = {"series_id": series_id, "horizon": horizon, "levels": [80, 95]}
    status, answer, headers = call("POST", "/api/v1/forecasts", body, Idempotency_Key=key, Prefer="wait=5")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while status == 202 and time.monotonic() < deadline:  # noqa: PLR2004  # accepted: it is answered later, at Location
        time.sleep(float(headers["Retry-After"]))
        status, answer, headers = call("GET", headers["Location"])
    if status != 200:  # noqa: PLR2004  # a problem document, or still 202
        print(f"{status} {answer.get('type', '')}: {answer.get('detail', 'no answer yet')}")
        return 1
    model = answer["model"]
    print(f"{answer['series_id']} after {answer['cutoff']}, {model['name']}:{model['version']} ({model['role']})")
    for index, step in enumerate(answer["steps"]):
        low, high = step["quantiles"]["0.025"], step["quantiles"]["0.975"]
        naive = answer["baselines"]["last-value"][index]
        print(f"{step['time']}  {step['median']:.2f}  [{low:.2f}, {high:.2f}]  last value {naive:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "market/AAPL@1d"))
