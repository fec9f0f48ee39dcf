# A camera in a call: both peers in one process, over the real network stack, to a recorded file.
. /tests/support/checks
export XDG_STATE_HOME=/tmp/state

rtckit call --loopback --video=camera:/dev/video4 --width exact:320 --height exact:180 --frame-rate exact:10 \
  --record camera.webm --video-output camera.y4m --duration 6s --json >call.json
equal "the call" $? 0
between "frames sent" "$(jq '.sent[0].framesSent' call.json)" 40 62
between "frames recorded" "$(jq '.peer.recording.tracks[0].frames' call.json)" 38 62
between "seconds recorded" "$(jq '.peer.recording.duration' call.json)" 4 6.5
equal "the size is that of the camera" "$(head -n 1 camera.y4m | cut -d' ' -f2,3)" "W320 H180"
rtckit capture --video=camera.webm --json >read.json
equal "the recording plays" "$? $(jq '.video.deliveredFrames > 30' read.json)" "0 true"
cp camera.webm /out/
