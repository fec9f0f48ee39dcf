# A camera for a minute: as many pictures as its rate promises, and a file as long as the minute.
. /tests/support/checks
export XDG_STATE_HOME=/tmp/state

rtckit capture --video=camera:/dev/video1 --width exact:320 --height exact:180 --frame-rate exact:25 --resize-mode exact:none \
  --duration 60s -o minute.y4m --json >minute.json
equal "it ends in order" "$? $(jq -r .ended minute.json)" "0 duration"
between "pictures in 60 s at 25 fps" "$(jq .video.totalFrames minute.json)" 1485 1515
# The other scripts run beside this one, and an emulated processor is not always there in time: what it costs is counted.
between "pictures that came out, and those that the driver lost" "$(jq '.video.deliveredFrames + .video.lostFrames' minute.json)" 1485 1515
between "most of them came out" "$(jq .video.deliveredFrames minute.json)" 1200 1515
frames=$((($(stat -c %s minute.y4m) - $(head -n 1 minute.y4m | wc -c)) / (6 + 320 * 180 * 3 / 2)))
between "pictures in the file" "$frames" 1485 1515
figure "delivered $(jq .video.deliveredFrames minute.json), lost $(jq .video.lostFrames minute.json), late $(jq .video.lateFrames minute.json)"
