#!/usr/bin/env bash
# A tour of a gateway with accounts: two tenants, a project made of a table, and what one of them never sees.
#
#   FORETOPIC_OPERATOR_PASSWORD='four random words' examples/tour.sh sales.parquet
#
# The operator must have chosen a password of their own already. Each run makes two organisations and a project of its
# own, and leaves them there to be looked at. It needs bash, curl, and python3 for reading JSON. It ends with the number
# of checks that passed and failed; the exit code is 0 where none failed.
set -euo pipefail

URL=${FORETOPIC_URL:-http://127.0.0.1:5000}
OPERATOR=${FORETOPIC_OPERATOR_EMAIL:-operator@foretopic.local}
: "${FORETOPIC_OPERATOR_PASSWORD:?set it to the password of $OPERATOR}"
# Columns of the file that are known in the future, how to train, and where a receiver of webhooks may listen.
KNOWN_FUTURE=${TOUR_KNOWN_FUTURE-Promo,SchoolHoliday}
TRAINING_BODY=${TOUR_TRAINING:-'{"algorithm": "auto", "budget_seconds": 60}'}
RECEIVER=${TOUR_RECEIVER_HOST:-127.0.0.1}
PATIENCE=${TOUR_PATIENCE_SECONDS:-1800}
FILE=${1:?the path of a Parquet or CSV file is needed}
RUN=$(date +%s)-$RANDOM
PASSED=0 FAILED=0
WORK=$(mktemp -d)
chmod 700 "$WORK"
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$WORK"' EXIT

# ---- How the tour talks -------------------------------------------------------------------------------------------

step() { printf '\n== %s\n' "$*"; }
say() { printf '   %s\n' "$*"; }

# check WHAT EXPECTED FOUND
check() {
    if [[ $2 == "$3" ]]; then
        PASSED=$((PASSED + 1))
        printf '   ok      %s\n' "$1"
    else
        FAILED=$((FAILED + 1))
        printf '   FAILED  %s: expected %s, found %s\n' "$1" "$2" "$3"
        [[ ! -s $WORK/body ]] || printf '           %s\n' "$(head -c 600 "$WORK/body")"
    fi
}

# read_json EXPRESSION [FILE]: a value of the last answer, which is called `d`.
read_json() {
    python3 -c 'import json, sys
d = json.load(open(sys.argv[2]))
print(eval(sys.argv[1]))' "$1" "${2:-$WORK/body}"
}

# make_json NAME VALUE ...: an object of texts, with whatever characters are in them.
make_json() { python3 -c 'import json, sys; print(json.dumps(dict(zip(sys.argv[1::2], sys.argv[2::2]))))' "$@"; }

# ask WHO METHOD PATH [CURL ARGUMENT ...]: the status comes into STATUS, the answer into $WORK/body.
# The credentials stand in a file: an argument could be read by everybody on this machine.
ask() {
    local who=$1 method=$2 path=$3
    shift 3
    STATUS=$(curl --silent --show-error --max-time 300 --request "$method" --header "@$WORK/$who.header" \
        --output "$WORK/body" --write-out '%{http_code}' "$@" "$URL$path")
}

# ask_json WHO METHOD PATH BODY
ask_json() { ask "$1" "$2" "$3" --header 'Content-Type: application/json' "${@:5}" --data @- <<<"$4"; }

# must STATUS WHAT: a check without which there is nothing to go on with.
must() {
    check "$2" "$1" "$STATUS"
    [[ $1 == "$STATUS" ]] || finish
}

remember() { printf 'Authorization: Bearer %s\n' "$2" >"$WORK/$1.header"; }

sign_in() {
    : >"$WORK/$1.header"
    ask_json "$1" POST /api/v1/auth/login "$(make_json email "$2" password "$3")"
    must 200 "$1 signs in"
    remember "$1" "$(read_json 'd["access_token"]')"
}

finish() {
    step "Summary"
    say "$PASSED checks passed, $FAILED failed"
    [[ $FAILED == 0 ]] && exit 0 || exit 1
}

# until_json WHO PATH EXPRESSION: ask until the expression is true.
until_json() {
    local end=$((SECONDS + PATIENCE))
    while ask "$1" GET "$2" && [[ $STATUS != 200 || $(read_json "bool($3)") != True ]]; do
        if [[ $STATUS != 200 && $STATUS != 429 && $STATUS != 503 ]] || ((SECONDS > end)); then
            check "$2 comes to an end" "within $PATIENCE s" "$STATUS"
            finish
        fi
        sleep 1
    done
}

# ---- 1. Two tenants -----------------------------------------------------------------------------------------------

step "1. The operator invites two tenants, who sign up"
sign_in operator "$OPERATOR" "$FORETOPIC_OPERATOR_PASSWORD"
[[ $(read_json 'd["must_change_password"]') == False ]] ||
    { say "the operator has a one-time password still: choose another at $URL/login"; exit 2; }

PASSWORD="a tour of $RUN"
# invited WHO ROLE ORGANISATION_ID INVITED_BY: signs up with an invitation.
invited() {
    ask_json "$4" POST "/api/v1/organisations/$3/invitations" "$(make_json email "$1-$RUN@example.org" role "$2")"
    must 201 "$4 invites $1 as $2"
    : >"$WORK/$1.header"
    ask_json "$1" POST /api/v1/auth/signup \
        "$(make_json invitation "$(read_json 'd["token"]')" name "$1" password "$PASSWORD")"
    must 201 "$1 signs up"
    remember "$1" "$(read_json 'd["access_token"]')"
}
# tenant WHO ORGANISATION: an organisation of their own, with somebody as its admin.
tenant() {
    ask_json operator POST /api/v1/organisations "$(make_json name "$2 $RUN")"
    must 201 "$2 becomes an organisation"
    ORGANISATION=$(read_json 'd["organisation_id"]')
    invited "$1" admin "$ORGANISATION" operator
}
tenant ana "Lojas Ana"
ANAS=$ORGANISATION
tenant rui "Lojas Rui"
invited vera viewer "$ANAS" ana
ask ana GET /api/v1/me
check "ana is an admin of one organisation" "['admin']" "$(read_json '[o["role"] for o in d["organisations"]]')"

# ---- 2. A project made of a table ---------------------------------------------------------------------------------

step "2. Ana makes a project of $(basename "$FILE")"
ask ana POST /api/v1/projects --form "file=@$FILE" --form "name=Sales of $RUN" --form "known_future=$KNOWN_FUTURE"
must 201 "the project is made"
PROJECT=$(read_json 'd["project_id"]')
say "it is $PROJECT; how its columns were read:"
read_json '"\n".join(f"     {name}: {value}" for name, value in d["upload"]["mapping"].items())'
TIME_COLUMN=$(read_json 'd["upload"]["mapping"]["time"]')

step "3. Its series are loaded"
STARTED=$SECONDS
SHOWN=
while :; do
    ask ana GET "/api/v1/projects/$PROJECT?limit=1"
    NOW=$(read_json '"{queued} queued, {running} running, {succeeded} succeeded, {failed} failed".format(**d["load"])')
    [[ $NOW == "$SHOWN" ]] || say "$NOW"
    SHOWN=$NOW
    [[ $(read_json 'd["state"]') == loading ]] || break
    ((SECONDS < STARTED + PATIENCE)) || break
    sleep 2
done
check "every series is loaded" 0 "$(read_json 'd["load"]["queued"] + d["load"]["running"] + d["load"]["failed"]')"
if [[ $FAILED != 0 ]]; then
    read_json '"\n".join("   " + str(fault) for fault in d["load"]["faults"][:3])'
    finish
fi
SERIES_ID=$(read_json 'd["series"][0]["series_id"]')
LAST=$(read_json 'd["series"][0]["last_time"]')
say "$(read_json '"{series_count} series, {rows} rows".format(**d)') in $((SECONDS - STARTED)) s"

# ---- 4. Keys, a stream and a webhook ------------------------------------------------------------------------------

step "4. Ana makes an API key that may read and ask for forecasts, no more"
ask_json ana POST /api/v1/keys \
    "{\"name\": \"tour\", \"scopes\": [\"read\", \"forecast\"], \"project_id\": \"$PROJECT\"}"
must 201 "the key is made"
remember key "$(read_json 'd["key"]')"
ask key GET "/api/v1/projects/$PROJECT?limit=1"
check "the key reads the project" 200 "$STATUS"
ask_json key POST "/api/v1/projects/$PROJECT/train" '{}'
check "the key may not train" 403 "$STATUS"
ask key GET /api/v1/projects
check "the key sees its project and the public one" "['market', '$PROJECT']" \
    "$(read_json 'sorted(p["project_id"] for p in d["projects"])')"

step "5. Ana subscribes: a stream, and a webhook"
# A stream ends after some minutes, and a training may take longer: it is opened again behind what came last.
subscribe() {
    local reading last
    trap 'kill "$reading" || true; exit' TERM
    while :; do
        last=$(sed -n '$!s/^id: //p' "$WORK/stream" | tail -n 1)
        curl --silent --no-buffer --max-time "$PATIENCE" --header "@$WORK/key.header" --header "Last-Event-ID: $last" \
            "$URL/api/v1/events?project=$PROJECT&types=forecast.issued" >>"$WORK/stream" &
        reading=$!
        wait "$reading" || true
        sleep 1
    done
}
: >"$WORK/stream"
subscribe 2>/dev/null &
# A receiver that checks the signature, as https://www.standardwebhooks.com/ says, and writes down what is true.
cat >"$WORK/receiver.py" <<'PYTHON'
import base64, hashlib, hmac, http.server, pathlib, sys

work = pathlib.Path(sys.argv[2])


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        secret = base64.b64decode((work / "secret").read_text().strip().removeprefix("whsec_"))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
        is_true = any(hmac.compare_digest(expected, one) for one in self.headers["webhook-signature"].split())
        if is_true:
            with (work / "deliveries").open("ab") as file:
                file.write(body + b"\n")
        self.send_response(204 if is_true else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


with http.server.HTTPServer((sys.argv[1], 0), Receiver) as server:
    (work / "port.new").write_text(str(server.server_port))
    (work / "port.new").rename(work / "port")
    server.serve_forever()
PYTHON
: >"$WORK/deliveries"
python3 "$WORK/receiver.py" "$RECEIVER" "$WORK" &
until [[ -s $WORK/port ]]; do sleep 0.1; done
ask_json ana POST "/api/v1/projects/$PROJECT/webhooks" \
    "{\"url\": \"http://$RECEIVER:$(cat "$WORK/port")/\", \"events\": [\"forecast.issued\"]}"
HAS_WEBHOOK=$STATUS
if [[ $HAS_WEBHOOK == 201 ]]; then
    read_json 'd["secret"]' >"$WORK/secret"
    check "the webhook is made" 201 "$STATUS"
else
    check "a webhook to a private address is refused" 422 "$STATUS"
    say "set FORETOPIC_GATEWAY_WEBHOOK_ALLOWED_NETWORKS on the gateway to allow the receiver of this tour"
fi

# ---- 6. Train -----------------------------------------------------------------------------------------------------

step "6. Ana trains, and watches: $TRAINING_BODY"
STARTED=$SECONDS
ask_json ana POST "/api/v1/projects/$PROJECT/train" "$TRAINING_BODY"
must 202 "the training is asked for"
TRAINING=$(read_json 'd["trainings"][0]["training_id"]')
MODEL=$(read_json 'd["trainings"][0]["model"]')
say "$(read_json '"{algorithm}, {series_count} series, {horizon} steps ahead from {window_size} rows".format(**d)')"
# The stream of a training ends with it; one that was cut off is opened again, as a browser would.
cat >"$WORK/training.py" <<'PYTHON'
import json, sys

stage = None
for line in sys.stdin:
    if line.startswith("data:"):
        event = json.loads(line[5:])
        if (event["state"], event.get("stage")) != stage:
            stage = (event["state"], event.get("stage"))
            print(f"   {event['state']:10} {event.get('fraction', 0):4.0%} {event.get('stage', '')}", flush=True)
PYTHON
while :; do
    curl --silent --no-buffer --max-time 600 --header "@$WORK/key.header" \
        "$URL/api/v1/trainings/$TRAINING/events" | python3 "$WORK/training.py" || true
    ask key GET "/api/v1/trainings/$TRAINING"
    [[ $(read_json 'd["state"]') != @(queued|running|progress) ]] || { ((SECONDS < STARTED + PATIENCE)) && continue; }
    break
done
check "the training succeeds" succeeded "$(read_json 'd["state"]')"
[[ $(read_json 'd["state"]') == succeeded ]] || finish
say "it took $((SECONDS - STARTED)) s"
# A login of before a long training may be over; the key is not.
sign_in ana "ana-$RUN@example.org" "$PASSWORD"
ask ana GET "/api/v1/projects/$PROJECT?limit=1"
say "$(read_json 'd["models"][0]["versions"][0]["algorithm"]'); percent off in the backtest, by method:"
read_json '"\n".join("     {}: {:.1f}".format(method, found["mape"]) for method, found in d["metrics"].items())'
check "the model is the champion" True "$(read_json 'd["models"][0]["champion"] is not None')"

# ---- 7. Predict ---------------------------------------------------------------------------------------------------

step "7. Ana predicts three days of $SERIES_ID, with what is known of them"
PREDICTION=$(python3 -c 'import datetime, json, sys
last = datetime.date.fromisoformat(sys.argv[1][:10])
days = [last + datetime.timedelta(days=n) for n in range(1, 9)]
rows = [{sys.argv[2]: str(day)} | {name: int(day.day <= 15) for name in sys.argv[3].split(",") if name}
        for day in days if day.isoweekday() != 7]  # shops are shut on Sundays
print(json.dumps({"series": sys.argv[4], "rows": rows[:3]}))' "$LAST" "$TIME_COLUMN" "$KNOWN_FUTURE" "$SERIES_ID")
ask_json key POST "/api/v1/projects/$PROJECT/predict" "$PREDICTION" \
    --header 'Prefer: wait=60' --header "Idempotency-Key: tour-$RUN"
must 200 "the key gets a prediction"
say "previsao_de_vendas $(read_json 'd["previsao_de_vendas"]'), values $(read_json 'list(d["values"])')"
check "it is the first of the values" True "$(read_json 'd["previsao_de_vendas"] == d["values"][0]')"
check "three days are forecast" 3 "$(read_json 'len(d["forecast"]["steps"])')"
FORECAST=$(read_json 'd["forecast"]["forecast_id"]')
REQUEST=$(read_json 'd["forecast"]["request_id"]')
ask_json key POST "/api/v1/projects/$PROJECT/predict" "$PREDICTION" \
    --header 'Prefer: wait=60' --header "Idempotency-Key: tour-$RUN"
check "a repeat with the same key is the same forecast" "$FORECAST" "$(read_json 'd["forecast"]["forecast_id"]')"

# arrived FILE: wait until it names the forecast; a webhook that was not taken at once is sent again after 5 s.
arrived() {
    local end=$((SECONDS + 120))
    until grep --quiet "$FORECAST" "$1" || ((SECONDS > end)); do sleep 0.2; done
    grep --quiet "$FORECAST" "$1" && echo yes || echo no
}
check "the stream told of the forecast" yes "$(arrived "$WORK/stream")"
[[ $HAS_WEBHOOK != 201 ]] || check "the webhook was sent it, with a true signature" yes "$(arrived "$WORK/deliveries")"

# ---- 8. History ---------------------------------------------------------------------------------------------------

step "8. Ana reads history and usage, and exports them"
ask ana GET "/api/v1/forecasts?project=$PROJECT"
check "the forecast stands in the history" "['$FORECAST']" "$(read_json '[f["forecast_id"] for f in d["forecasts"]]')"
check "asked for by the key" True "$(read_json '"/key/" in d["forecasts"][0]["requester"]')"
ask ana GET "/api/v1/trainings?project=$PROJECT"
check "the training as well" "['$TRAINING']" "$(read_json '[t["training_id"] for t in d["trainings"]]')"
ask ana GET "/api/v1/usage?project=$PROJECT&by=project"
check "usage counts one forecast" 1 "$(read_json 'sum(line["issued"] for line in d["usage"])')"
ask ana GET "/api/v1/forecasts?project=$PROJECT&format=csv"
say "$(head -n 1 "$WORK/body")"
check "the CSV has a header and one line" 2 "$(wc -l <"$WORK/body" | tr -d ' ')"

# ---- 9. The other tenant ------------------------------------------------------------------------------------------

step "9. Rui sees nothing of it: what is Ana's is answered like what does not exist"
sign_in rui "rui-$RUN@example.org" "$PASSWORD"
# same_404 METHOD PATH OTHER_PATH [BODY]: an id of Ana's and one of nobody get one answer, but for the id in it.
same_404() {
    local own=$2 other=$3 body=${4:-} first
    ask_json rui "$1" "$own" "$body"
    first="$STATUS $(plain "$own")"
    ask_json rui "$1" "$other" "$body"
    check "$1 ${own/$PROJECT/PROJECT}" "404, as for one of nobody" \
        "$([[ $STATUS == 404 && $first == "$STATUS $(plain "$other")" ]] && echo '404, as for one of nobody' || echo "$first")"
}
NOBODY=nobody-000000
NO_ID=00000000000000000000000000000000
# plain PATH: the last answer without the ids that were sent and that of the request.
plain() {
    python3 -c 'import json, sys, urllib.parse
text = open(sys.argv[1]).read()
for sent in sys.argv[2:]:
    text = text.replace(sent, "ID")
problem = json.loads(text)
print(json.dumps({name: value for name, value in problem.items() if name not in ("x_request_id", "instance")}))' \
        "$WORK/body" "$PROJECT" "$NOBODY" "$TRAINING" "$FORECAST" "$REQUEST" "$NO_ID"
}
same_404 GET "/api/v1/projects/$PROJECT" "/api/v1/projects/$NOBODY"
same_404 PATCH "/api/v1/projects/$PROJECT" "/api/v1/projects/$NOBODY" '{"name": "mine"}'
same_404 DELETE "/api/v1/projects/$PROJECT" "/api/v1/projects/$NOBODY"
same_404 POST "/api/v1/projects/$PROJECT/train" "/api/v1/projects/$NOBODY/train" '{}'
same_404 POST "/api/v1/projects/$PROJECT/predict" "/api/v1/projects/$NOBODY/predict" "$PREDICTION"
same_404 GET "/api/v1/projects/$PROJECT/webhooks" "/api/v1/projects/$NOBODY/webhooks"
same_404 GET "/api/v1/series/$SERIES_ID" "/api/v1/series/${SERIES_ID/$PROJECT/$NOBODY}"
same_404 GET "/api/v1/series/$SERIES_ID/observations" "/api/v1/series/${SERIES_ID/$PROJECT/$NOBODY}/observations"
same_404 GET "/api/v1/models/$MODEL" "/api/v1/models/${MODEL/$PROJECT/$NOBODY}"
same_404 GET "/api/v1/trainings/$TRAINING" "/api/v1/trainings/$NO_ID"
same_404 GET "/api/v1/trainings/$TRAINING/events" "/api/v1/trainings/$NO_ID/events"
same_404 GET "/api/v1/forecasts/$FORECAST" "/api/v1/forecasts/$NO_ID"
same_404 GET "/api/v1/forecasts/$REQUEST" "/api/v1/forecasts/$NO_ID"
same_404 GET "/api/v1/events?project=$PROJECT" "/api/v1/events?project=$NOBODY"
for list in projects series models forecasts trainings ingests usage keys audit; do
    ask rui GET "/api/v1/$list"
    check "nothing of Ana's in /api/v1/$list" "200 no" \
        "$STATUS $(grep --quiet -e "$PROJECT" -e "$ANAS" "$WORK/body" && echo yes || echo no)"
done
ask rui GET "/api/v1/forecasts?project=$PROJECT"
check "nothing in her history by name either" 0 "$(read_json 'len(d["forecasts"])')"

# ---- 10. Lower roles ----------------------------------------------------------------------------------------------

step "10. Vera is a viewer of Ana's organisation; somebody else has no credentials"
sign_in vera "vera-$RUN@example.org" "$PASSWORD"
ask vera GET "/api/v1/projects/$PROJECT?limit=1"
check "vera reads the project" 200 "$STATUS"
ask_json vera POST "/api/v1/projects/$PROJECT/train" '{}'
check "vera may not train" 403 "$STATUS"
ask_json vera POST "/api/v1/projects/$PROJECT/predict" "$PREDICTION"
check "vera may not ask for forecasts" 403 "$STATUS"
ask vera DELETE "/api/v1/projects/$PROJECT"
check "vera may not remove it" 403 "$STATUS"
ask_json vera POST /api/v1/keys '{"name": "mine"}'
check "vera may not make keys" 403 "$STATUS"
: >"$WORK/nobody.header"
ask nobody GET "/api/v1/projects/$PROJECT"
check "without credentials" 401 "$STATUS"

finish
