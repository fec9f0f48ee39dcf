# A camera that is busy, that stalls, that breaks and that is unplugged: one clear error, the right exit code, and what was
# captured is kept.
. /tests/support/checks
export XDG_STATE_HOME=/tmp/state

# Seconds since $1, whole.
since() { awk -v then="$1" '{ print int($1 - then) }' /proc/uptime; }
now() { cut -d' ' -f1 /proc/uptime; }

# Waits until a file is there and has something in it.
until_written() {
  for _ in $(seq 300); do
    [ ! -s "$1" ] || return 0
    sleep 0.1
  done
  return 1
}

busy=/dev/video3
v4l2-ctl -d $busy --stream-mmap --stream-count=100000 >/dev/null 2>&1 &
holder=$!
for _ in $(seq 100); do
  # As long as nobody streams, the format can be set.
  v4l2-ctl -d $busy --set-fmt-video=width=320,height=180 2>&1 | grep -q busy && break
  sleep 0.1
done
began=$(now)
rtckit capture --video=camera:$busy -o busy.y4m --duration 5s --json >busy.json
equal "a busy camera" "$? $(jq -r .error.name busy.json) $(jq -r .error.message busy.json | grep -c 'in use')" "4 NotReadableError 1"
between "it is told soon" "$(since "$began")" 0 10
kill $holder
wait $holder 2>/dev/null
rtckit capture --video=camera:$busy -o busy.y4m --duration 300ms --json >free.json
equal "the same camera once it is free" $? 0

# Every picture is dropped: nothing comes.
v4l2-ctl -d $busy --set-ctrl percentage_of_dropped_buffers=100
began=$(now)
rtckit capture --video=camera:$busy -o stalled.y4m --json >stalled.json
equal "a stalled camera" "$? $(jq -r .error.name stalled.json) $(jq -r .error.message stalled.json | grep -c 'no picture for 5 s')" "4 NotReadableError 1"
equal "and no empty file is left" "$(ls stalled.y4m* 2>/dev/null)" ""
between "it is told after 5 seconds" "$(since "$began")" 4 15
rtckit capture --video=camera:$busy -o interrupted.y4m --json --events-file interrupted.ndjson >interrupted.json &
capturing=$!
until_written interrupted.ndjson || fail "it never began"
began=$(now)
kill -INT $capturing
wait $capturing
equal "a stalled camera can be left" "$? $(jq -r .ended interrupted.json)" "0 interrupt"
between "soon" "$(since "$began")" 0 5

v4l2-ctl -d $busy --set-ctrl percentage_of_dropped_buffers=30
rtckit capture --video=camera:$busy --width exact:320 --height exact:180 --duration 4s --json >lossy.json
between "lost pictures are counted, in percent" \
  "$(jq '.video | 100 * .lostFrames / .totalFrames' lossy.json)" 10 50
v4l2-ctl -d $busy --set-ctrl percentage_of_dropped_buffers=0

# fault NAME CONTROL DEVICE: captures, makes the fault, and looks at what is left.
fault() {
  rtckit capture --video=camera:"$3" --width exact:320 --height exact:180 -o "$1.y4m" --json --events-file "$1.ndjson" >"$1.json" &
  capturing=$!
  until_written "$1.y4m.part" || fail "$1: it never began"
  sleep 1
  v4l2-ctl -d "$3" --set-ctrl "$2"=1
  wait $capturing
  equal "$1: exit code and error" "$? $(jq -r .error.name "$1.json")" "4 NotReadableError"
  equal "$1: the event" "$(jq -r 'select(.type == "ended") | .kind' "$1.ndjson")" video
  equal "$1: it ended by itself" "$(jq -r .ended "$1.json")" input-ended
  between "$1: what came before is kept" "$(jq .video.deliveredFrames "$1.json")" 10 100000
  equal "$1: the file is whole" \
    "$(($(stat -c %s "$1.y4m") - $(head -n 1 "$1.y4m" | wc -c)))" \
    "$((($(jq '.video.deliveredFrames + .outputs[0].framesRepeated - .outputs[0].framesLeftOut' "$1.json")) * (6 + 320 * 180 * 3 / 2)))"
  # The file plays: it is read again.
  rtckit capture --video="$1.y4m" --json >"$1.again.json"
  equal "$1: the file plays" "$? $(jq .video.deliveredFrames "$1.again.json")" \
    "0 $(jq '.video.deliveredFrames + .outputs[0].framesRepeated - .outputs[0].framesLeftOut' "$1.json")"
}
fault broken inject_fatal_streaming_error $busy
fault unplugged disconnect /dev/video2
grep -q unplugged unplugged.json && pass "unplugged: it is said" || fail "unplugged: $(cat unplugged.json)"

# Of two tracks the one whose camera is gone ends; the other goes on, and the exit code tells of it all the same.
v4l2-ctl -d $busy --set-ctrl percentage_of_dropped_buffers=100
rtckit capture --video=camera:$busy --audio=test -o both.wav --duration 7s --json --events-file both.ndjson >both.json
equal "one of two tracks fails" "$? $(jq -r '.ended + " " + .error.name' both.json)" "4 duration NotReadableError"
equal "the event" "$(jq -r 'select(.type == "ended") | .kind' both.ndjson)" video
between "the other is whole" "$(jq '.audio.samples / 48000' both.json)" 6.9 7.1
v4l2-ctl -d $busy --set-ctrl percentage_of_dropped_buffers=0

began=$(now)
rtckit capture --video=camera:/dev/video9 --json >absent.json
equal "a camera that is not there" "$? $(jq -r .error.name absent.json)" "4 NotFoundError"
between "it is told soon" "$(since "$began")" 0 10
