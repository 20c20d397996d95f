#!/usr/bin/env bash
# Writes the handoff of one call, with the call token that the agent was given for it.
#
#   HANDOFF_URL=… CALL_TOKEN=… ./write-handoff.sh handoff.json
#
# HANDOFF_URL   `handoff_url` of the media stream's start, or the SIP header X-Handoff-Url; it begins with
#               BATON_PUBLIC_URL_HERE/
# CALL_TOKEN    `call_token`, or X-Call-Token: good for this one call
# handoff.json  a JSON object, such as {"destination":"billing","reason":"BILLING","summary":"…"}; read
#               from standard input when no file is named
#
# Prints Baton's answer; the exit code is 0 if the handoff is kept. Needs curl 7.76 or newer.
set -euo pipefail

: "${HANDOFF_URL:?is not set}" "${CALL_TOKEN:?is not set}"
data=$(cat -- "${1:--}")

# The token goes by a pipe, for every user of a machine can read its command lines.
printf '{"data":%s}' "$data" |
  curl --silent --show-error --fail-with-body --max-time 3 --retry 1 \
    --request PUT --header @<(printf 'Authorization: Bearer %s\n' "$CALL_TOKEN") \
    --header 'Content-Type: application/json' --data-binary @- "$HANDOFF_URL"
