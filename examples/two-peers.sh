#!/usr/bin/env bash
# A call between two rtckit peers on this machine: one sends the test picture and tone, the other records them.
#
#   examples/two-peers.sh [FILE.webm] [SECONDS]
#
# The offer goes through one fifo, the answer through the other. RTCKIT names the program to run.
set -euo pipefail

rtckit=${RTCKIT:-rtckit}
recording=${1:-two-peers-$(date +%Y%m%d-%H%M%S).webm}
seconds=${2:-5}

fifos=$(mktemp -d)
trap 'rm -rf "$fifos"' EXIT
mkfifo "$fifos/offer" "$fifos/answer"

# Opening a fifo waits for its other end, so both peers open them in the same order: offer, then answer.
"$rtckit" call --video=test --audio=test --duration "${seconds}s" >"$fifos/offer" <"$fifos/answer" &
caller=$!
"$rtckit" answer --record "$recording" <"$fifos/offer" >"$fifos/answer" &
callee=$!

failed=0
wait "$caller" || failed=$?
wait "$callee" || failed=$?
if ((failed)); then
  exit "$failed"
fi

echo "recorded: $recording"
if command -v ffprobe >/dev/null 2>&1; then
  printf 'duration: %s s\n' "$(ffprobe -v error -show_entries format=duration -of csv=p=0 "$recording")"
fi
