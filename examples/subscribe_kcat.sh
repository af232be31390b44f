#!/bin/sh
# Forecasts as they come, with kcat (https://github.com/edenhill/kcat): from the beginning, then each new one.
exec kcat -C -b "${FORETOPIC_KAFKA_BOOTSTRAP_SERVERS:-127.0.0.1:9092}" -t "${FORETOPIC_TOPIC_PREFIX:-}forecasts" -o beginning -u \
  -f '%k  %h\n%s\n\n'
