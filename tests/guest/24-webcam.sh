# A webcam on USB, by the driver that webcams have: JPEG pictures are decoded right, bad ones are left out and counted, and what
# a cable or a camera does meanwhile is told. The webcam is a program, which shows colour bars.
. /tests/support/checks
export XDG_STATE_HOME=/tmp/state

modprobe -a vhci-hcd uvcvideo
mkfifo faults
exec 3<>faults

# plug PORT: waits until it is there, and leaves the node of its pictures in `node`.
plug() {
  webcam "$1" <faults &
  webcam=$!
  for _ in $(seq 100); do
    node=$(grep -l 'Test Webcam' /sys/class/video4linux/video*/name 2>/dev/null | while read -r name; do
      [ "$(cat "${name%name}index")" != 0 ] || echo "/dev/$(basename "${name%/name}")"
    done)
    [ -z "$node" ] || [ ! -c "$node" ] || return 0
    sleep 0.1
  done
  fail "the webcam does not appear"
}

unplug() {
  kill $webcam
  wait $webcam 2>/dev/null || true
}

# Waits until a file is there and has something in it.
until_written() {
  for _ in $(seq 300); do
    [ ! -s "$1" ] || return 0
    sleep 0.1
  done
  fail "$1 was never written"
}

# kinds FILE BYTES: how many different pictures there are in a raw file.
kinds() {
  for number in $(seq 0 $(($(stat -c %s "$1") / $2 - 1))); do
    dd if="$1" bs="$2" skip="$number" count=1 2>/dev/null | md5sum
  done | sort -u | wc -l
}

# bars FILE WIDTH HEIGHT: the Y U V in the middle of each bar, in the last line of the first picture.
bars() {
  for bar in 0 1 2 3 4 5 6 7; do
    x=$(($2 * (2 * bar + 1) / 16)) chroma=$(($2 * $3))
    for at in $((($3 - 1) * $2 + x)) $((chroma + ($3 / 2 - 1) * $2 / 2 + x / 2)) $((chroma * 5 / 4 + ($3 / 2 - 1) * $2 / 2 + x / 2)); do
      od -An -v -tu1 -j $at -N 1 "$1"
    done
  done | awk '{ printf "%s%d", (NR > 1 ? " " : ""), $1 }'
}
# White, yellow, cyan, green, magenta, red, blue, black by BT.601.
colours="235 128 128 210 16 146 170 166 16 145 54 34 106 202 222 81 90 240 41 240 110 16 128 128"
# off A B: the largest difference between two lists of numbers.
off() {
  awk -v a="$1" -v b="$2" 'BEGIN { n = split(a, x, " "); m = split(b, y, " "); most = n == m ? 0 : 999
    for (i = 1; i <= n; i++) { d = x[i] - y[i]; if (d < 0) d = -d; if (d > most) most = d }; print most }'
}

plug 0
rtckit devices --kind videoinput --capabilities --json >list.json
mine=".devices[] | select(.path == \"$node\")"
equal "it is listed once, without its metadata" "$(jq '[.devices[] | select(.label | test("Test Webcam"))] | length' list.json)" 1
equal "with its modes" \
  "$(jq -r "$mine"' | .capabilities.modes[] | "\(.pixelFormat) \(.width)x\(.height)@\(.frameRate * 100 | round / 100)"' list.json | tr '\n' ' ')" \
  "YUYV 160x120@30 YUYV 160x120@15 MJPG 320x240@30 MJPG 320x240@15 MJPG 160x120@30 MJPG 160x120@15 "
id=$(jq -r "$mine | .deviceId" list.json)
equal "by its label it is found" "$(rtckit capture --video="camera:Test Webcam" --duration 100ms --json | jq -r .video.settings.deviceId)" "$id"

# JPEGs of the smaller size come without Huffman tables.
for mode in MJPG:320x240@30 MJPG:320x240@15 MJPG:160x120@30 YUYV:160x120@30; do
  format=${mode%:*} fps=${mode#*@} size=${mode#*:}
  size=${size%@*}
  width=${size%x*} height=${size#*x}
  rtckit capture --video="camera:$node" --width exact:$width --height exact:$height --frame-rate exact:$fps --resize-mode exact:none \
    --pixel-format exact:$format --duration 2s -o mode.i420 --overwrite --json >mode.json
  equal "$mode: ends in order" "$? $(jq -r .ended mode.json)" "0 duration"
  between "$mode: pictures" "$(jq .video.deliveredFrames mode.json)" $((2 * fps - 2)) $((2 * fps + 1))
  equal "$mode: none is lost" "$(jq .video.lostFrames mode.json)" 0
  equal "$mode: all are the same" "$(kinds mode.i420 $((width * height * 3 / 2)))" 1
  between "$mode: the colours are those of the bars" "$(off "$(bars mode.i420 $width $height)" "$colours")" 0 4
done

# Where larger pictures are wanted, only JPEG has them.
rtckit capture --video="camera:$node" --width 320 --height 240 --duration 200ms --json >wanted.json
equal "JPEG is chosen for its size" "$(jq -c '.video.settings | [.width, .height, .pixelFormat]' wanted.json)" '[320,240,"MJPG"]'

# A picture that is spoilt, one that ends in the middle, and one that the camera says is bad.
rtckit capture --video="camera:$node" --width exact:320 --height exact:240 --frame-rate exact:15 --resize-mode exact:none \
  --duration 4s -o bad.i420 --json >bad.json &
capturing=$!
until_written bad.i420.part
for fault in damage cut flag; do
  echo $fault >&3
  sleep 0.5
done
wait $capturing
equal "bad pictures: the capture goes on" "$? $(jq -r .ended bad.json)" "0 duration"
equal "bad pictures: each is counted as lost" "$(jq .video.lostFrames bad.json)" 3
between "bad pictures: the others are kept" "$(jq .video.deliveredFrames bad.json)" 55 58
equal "bad pictures: none is shown" "$(kinds bad.i420 115200)" 1

# Each camera is tried out.
rtckit devices --kind videoinput --test --json >works.json
equal "all cameras work" "$? $(jq '[.tests[] | select(.ok)] | length' works.json)" "0 6"
between "pictures of the webcam in a second" "$(jq '.tests[] | select(.label | test("Test Webcam")) | .framesPerSecond' works.json)" 28 31

# No pictures for a while, then for too long.
rtckit capture --video="camera:$node" --width exact:160 --height exact:120 -o paused.y4m --duration 5s --json >paused.json &
capturing=$!
until_written paused.y4m.part
echo stall >&3
sleep 2
echo resume >&3
wait $capturing
equal "a camera that pauses: the capture goes on" "$? $(jq -r .ended paused.json)" "0 duration"
between "a camera that pauses: pictures" "$(jq .video.deliveredFrames paused.json)" 60 100
rtckit capture --video="camera:$node" --width exact:160 --height exact:120 -o stalled.y4m --json >stalled.json &
capturing=$!
until_written stalled.y4m.part
echo stall >&3
wait $capturing
equal "a camera that stalls" "$? $(jq -r .error.name stalled.json) $(jq -r .error.message stalled.json | grep -c 'no picture for 5 s')" \
  "4 NotReadableError 1"
check "a camera that stalls: what came before is kept" test -s stalled.y4m
rtckit devices --kind videoinput --test --json >fails.json
equal "a camera that stalls: trying it out tells" \
  "$? $(jq -c '[.tests[] | select(.ok | not) | [.error.name, (.label | test("Test Webcam"))]]' fails.json)" '4 [["NotReadableError",true]]'
echo resume >&3

# The cable is pulled, and plugged in again elsewhere.
rtckit capture --video="camera:$node" --width exact:320 --height exact:240 -o pulled.y4m --json >pulled.json &
capturing=$!
until_written pulled.y4m.part
unplug
wait $capturing
equal "a camera that is unplugged" "$? $(jq -r .error.name pulled.json) $(jq -r .error.message pulled.json | grep -c unplugged)" \
  "4 NotReadableError 1"
rtckit capture --video=pulled.y4m --json >again.json
equal "a camera that is unplugged: the file plays" "$? $(jq '.video.deliveredFrames > 0' again.json)" "0 true"
rtckit capture --video="camera:$id" --json >absent.json
equal "it is gone" "$? $(jq -r .error.name absent.json)" "4 NotFoundError"

plug 3
rtckit devices --kind videoinput --json >moved.json
equal "at another port it is the same camera" "$(jq -r '.devices[] | select(.label | test("Test Webcam")) | .deviceId' moved.json)" "$id"

# A track whose camera is unplugged is fed from another one.
mkfifo commands
rtckit capture --video="camera:$node" --width exact:320 --height exact:240 --audio=test -o fed.y4m -o fed.wav --control commands \
  --events-file events.ndjson --json >fed.json &
capturing=$!
exec 4>commands
until_written fed.y4m.part
unplug
# until_says WORD
until_says() {
  for _ in $(seq 300); do
    ! grep -q "$1" events.ndjson || return 0
    sleep 0.1
  done
  fail "nobody says $1"
}
until_says '"ended"'
echo '{"command":"replaceTrack","kind":"video","source":"camera:/dev/video1"}' >&4
until_says '"answer"'
# Five more pictures, however slowly an unoptimised build scales them here.
enough=$(($(stat -c %s fed.y4m.part) + 5 * (6 + 320 * 240 * 3 / 2)))
for _ in $(seq 100); do
  [ "$(stat -c %s fed.y4m.part)" -lt $enough ] || break
  sleep 0.1
done
check "and has pictures" test "$(stat -c %s fed.y4m.part)" -ge $enough
echo '{"command":"stop"}' >&4
wait $capturing
equal "a camera that is unplugged and replaced" "$? $(jq -r .ended fed.json)" "0 stopped"
equal "its track lives again" "$(jq -r 'select(.type == "answer") | [.ok, .tracks[0].readyState] | join(" ")' events.ndjson | head -n 1)" "true live"
