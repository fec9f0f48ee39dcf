# A camera in a call: both peers in one process, over the real network stack, to a recorded file.
. /tests/support/checks
export XDG_STATE_HOME=/tmp/state

rtckit call --loopback --video=camera:/dev/video4 --width exact:320 --height exact:180 --frame-rate exact:10 \
  --record camera.webm --video-output camera.y4m --duration 6s --json >call.json
equal "the call" $? 0
between "frames sent" "$(jq '.sent[0].framesSent' call.json)" 58 62
between "frames recorded" "$(jq '.peer.recording.tracks[0].frames' call.json)" 57 62
between "seconds recorded" "$(jq '.peer.recording.duration' call.json)" 5.8 6.3
equal "the size is that of the camera" "$(head -n 1 camera.y4m | cut -d' ' -f2,3)" "W320 H180"
rtckit capture --video=camera.webm --json >read.json
equal "the recording plays, all of it" "$? $(jq .video.deliveredFrames read.json)" "0 $(jq '.peer.recording.tracks[0].frames' call.json)"
cp camera.webm /out/

# Another camera takes the place of the first, and one that is busy does not. Commands come by a fifo, answers as events.
mkfifo commands
rtckit call --loopback --video=camera:/dev/video4 --width exact:320 --height exact:180 --record replaced.webm --control commands \
  --events-file events.ndjson --json >replaced.json &
call=$!
# command LINE: gives it, and waits for the answer.
count=0
command() {
  echo "$1" >commands
  count=$((count + 1))
  for _ in $(seq 300); do
    [ "$(grep -c '"type":"answer"' events.ndjson)" -lt $count ] || return 0
    sleep 0.1
  done
  fail "no answer to $1"
}
for _ in $(seq 300); do [ ! -s replaced.webm.part ] || break; sleep 0.1; done
command '{"command":"replaceTrack","kind":"video","source":"camera:/dev/video1"}'
sleep 2
command '{"command":"replaceTrack","kind":"video","source":"camera:/dev/video1"}'
command '{"command":"hangup"}'
wait $call
equal "a call whose camera is replaced" "$? $(jq -r .ended replaced.json)" "0 stopped"
equal "what was answered" "$(jq -c 'select(.type == "answer") | [.ok, .error.name]' events.ndjson | tr '\n' ' ')" \
  '[true,null] [false,"NotReadableError"] [true,null] '
equal "the other camera is the one in use" \
  "$(jq -r 'select(.command == "replaceTrack" and .ok) | .tracks[0].settings.deviceId' events.ndjson)" \
  "$(rtckit devices --kind videoinput --json | jq -r '.devices[] | select(.path == "/dev/video1") | .deviceId')"
between "pictures of both" "$(jq '.sent[0].framesSent' replaced.json)" 60 1000
