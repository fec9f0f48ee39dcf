# Frames kept and CPU per frame of a camera: rtckit, v4l2-ctl and ffmpeg on the same guest, alone and beside a program that takes all
# the processor that it gets. On the host:
#
#     scripts/test-devices --rtckit target/release/rtckit --scripts benches/camera --add ffmpeg
. /tests/support/checks
export XDG_STATE_HOME=/tmp/state
seconds=10

modprobe -a vhci-hcd uvcvideo
mkfifo faults
exec 3<>faults
webcam 0 <faults &
webcam=$!
for _ in $(seq 100); do
  jpeg=/dev/$(ls /sys/bus/usb/drivers/uvcvideo/*/video4linux 2>/dev/null | sort | head -n 1)
  [ ! -c "$jpeg" ] || break
  sleep 0.1
done

# cost NAME PICTURES COMMAND…: runs it; the number of pictures is what the command PICTURES prints afterwards.
cost() {
  name=$1 pictures=$2
  shift 2
  if ! time -f '%U %S' -o cost "$@" >said 2>&1; then
    tail -n 5 said
    fail "$name"
    return
  fi
  kept=$(eval "$pictures")
  figure "$name: $kept of $expected pictures, $(tail -n 1 cost | awk -v kept="$kept" '{ printf "%.2f s CPU, %.2f ms a picture", $1 + $2, kept ? 1000 * ($1 + $2) / kept : 0 }')"
  [ "$kept" -ge $((expected * 9 / 10)) ] && pass "$name" || fail "$name: $kept pictures"
  rm -f out.*
}

# both LABEL DEVICE FOURCC FFMPEG-FORMAT WIDTH HEIGHT
both() {
  label=$1 device=$2 fourcc=$3 format=$4 width=$5 height=$6
  bytes=$((width * height * 3 / 2))
  expected=$((seconds * 30))
  v4l2-ctl -d "$device" --set-fmt-video=width=$width,height=$height,pixelformat=$fourcc --set-parm=30 >/dev/null 2>&1
  set -- --video="camera:$device" --width exact:$width --height exact:$height --frame-rate exact:30 --resize-mode exact:none \
    --pixel-format exact:$fourcc --duration ${seconds}s --json
  cost "$label: v4l2-ctl, as it comes" 'echo $expected' v4l2-ctl -d "$device" --stream-mmap=6 --stream-count=$expected --stream-to=/dev/null
  cost "$label: rtckit, counting" 'jq .video.deliveredFrames said' rtckit capture "$@" -q
  cost "$label: rtckit, to I420" 'echo $(($(stat -c %s out.i420) / bytes))' rtckit capture "$@" -q -o out.i420
  cost "$label: ffmpeg, to I420" 'echo $(($(stat -c %s out.yuv) / bytes))' ffmpeg -v error -nostdin -y -f v4l2 -input_format "$format" \
    -video_size ${width}x$height -framerate 30 -i "$device" -t $seconds -fps_mode passthrough -pix_fmt yuv420p -f rawvideo out.yuv
}

all() {
  both "YUYV 640x360$1" /dev/video1 YUYV yuyv422 640 360
  both "MJPG 320x240$1" "$jpeg" MJPG mjpeg 320 240
}
all ""
while :; do :; done &
burner=$!
all ", beside a busy loop"
kill $burner $webcam
wait $burner $webcam 2>/dev/null || true
