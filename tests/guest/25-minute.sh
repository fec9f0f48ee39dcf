# A camera for a minute: as many pictures as its rate promises, none of them lost, and a file as long as the minute.
. /tests/support/checks
export XDG_STATE_HOME=/tmp/state

rtckit capture --video=camera:/dev/video1 --width exact:320 --height exact:180 --frame-rate exact:25 --resize-mode exact:none \
  --duration 60s -o minute.y4m --json >minute.json
equal "it ends in order" "$? $(jq -r .ended minute.json)" "0 duration"
between "pictures of 60 s at 25 fps" "$(jq .video.deliveredFrames minute.json)" 1495 1502
equal "lost, discarded and late ones" "$(jq -c '.video | [.lostFrames, .discardedFrames, .lateFrames]' minute.json)" "[0,0,0]"
frames=$((($(stat -c %s minute.y4m) - $(head -n 1 minute.y4m | wc -c)) / (6 + 320 * 180 * 3 / 2)))
between "pictures in the file" "$frames" 1495 1502
figure "delivered $(jq .video.deliveredFrames minute.json), lost $(jq .video.lostFrames minute.json), late $(jq .video.lateFrames minute.json)"
