#!/usr/bin/env bash
# Asks a running `bin/monarch serve` for a video, waits for it and saves it, with curl and python3 (to read JSON).
#   examples/live/video.sh "a red circle moving right" circle.mp4 [http://127.0.0.1:8080]
# With a token: export MONARCH_TOKEN=...
set -euo pipefail
prompt=${1:?usage: video.sh PROMPT FILE.mp4 [SERVER]} file=${2:?usage: video.sh PROMPT FILE.mp4 [SERVER]} server=${3:-http://127.0.0.1:8080}
call() { curl -sS --fail-with-body ${MONARCH_TOKEN:+-H "Authorization: Bearer $MONARCH_TOKEN"} "$@"; }
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
body=$(python3 -c 'import json, sys; print(json.dumps({"prompt": sys.argv[1]}))' "$prompt")
id=$(call "$server/v1/videos" -d "$body" | field id)
while status=$(call "$server/v1/videos/$id" | field status); [ "$status" = queued ] || [ "$status" = in_progress ]; do
  sleep 0.5
done
[ "$status" = completed ] || { echo "the video $status: $(call "$server/v1/videos/$id" | field error)" >&2; exit 1; }
call "$server/v1/videos/$id/content" -o "$file"
echo "$file"
