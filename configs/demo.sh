#!/bin/sh
# Show Hive off: start a daemon on a temporary state directory, triage a real log, print the report and the figures, stop.
set -eu
bin=$1
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/hive-demo.XXXXXX")
export HIVE_SOCKET="$work/hived.sock"
export HIVE_HTTP__LISTEN=127.0.0.1:0
daemon=

finish() {
    code=$?
    trap - EXIT INT TERM
    if [ -n "$daemon" ] && kill -TERM "$daemon" 2>/dev/null; then wait "$daemon" || code=$?; fi
    if [ "$code" -ne 0 ]; then
        echo "--- the daemon's log ---" >&2
        cat "$work/hived.log" >&2 || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT INT TERM

echo "== hived starts, with its state in $work"
"$bin/hived" --config "$here/quickstart.yaml" --state-dir "$work/state" --log-format human 2>"$work/hived.log" &
daemon=$!
tries=0
until "$bin/hive" health >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 30 ] || ! kill -0 "$daemon" 2>/dev/null; then echo "hived did not start" >&2; exit 1; fi
    sleep 0.2
done

echo "== hive trigger default --input quickstart-input.json --follow"
"$bin/hive" trigger default --input "$here/quickstart-input.json" --follow --json >"$work/result.json"

echo
echo "== the report"
"$bin/python" - "$work/result.json" <<'PY'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    result = json.load(file)
print(result["output"]["report"])
PY

echo
echo "== hive stats"
"$bin/hive" stats

echo
echo "== hived drains and stops"
kill -TERM "$daemon"
wait "$daemon"
daemon=
echo "== done"
