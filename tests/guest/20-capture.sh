# `capture` gives the pictures that the driver makes: in every pixel format that we claim, at the size and rate that were asked
# for, cropped and scaled where that was asked for.
. /tests/support/checks
export XDG_STATE_HOME=/tmp/state
camera=/dev/video0

# A picture that stands still and says nothing: colour bars without text.
v4l2-ctl -d $camera --set-ctrl test_pattern=1,osd_text_mode=2,horizontal_movement=3,vertical_movement=3,show_border=0

# capture NAME ARGUMENT…: its report in NAME.json
capture() {
  name=$1
  shift
  timeout 60 rtckit capture --video=camera:$camera --json -q "$@" >"$name.json"
}

bytes=$((320 * 180 * 3 / 2))
same="--width exact:320 --height exact:180 --resize-mode exact:none --frame-rate exact:30"
formats=$(rtckit devices --capabilities --json | jq -r '[.devices[0].capabilities.modes[].pixelFormat] | unique | .[]')
for format in $formats; do
  capture "$format" $same --pixel-format "exact:$format" --duration 200ms -o "$format.i420"
  equal "$format: settings" "$(jq -c '.video.settings | [.width, .height, .frameRate, .resizeMode, .pixelFormat]' "$format.json")" \
    "[320,180,30,\"none\",\"$format\"]"
  head -c $bytes "$format.i420" >"$format.one"
done
# All formats carry the same picture. Of 86400 values so many may differ by more than 5: those at the edges of the bars, where
# chroma is averaged in different ways.
# GREY is luma by another formula.
for format in $formats; do
  equal "$format: a whole picture" "$(stat -c %s "$format.one")" $bytes
  [ "$format" != GREY ] || continue
  between "$format: the picture is that of YUYV" "$(cmp -l YUYV.one "$format.one" |
    awk 'function value(octal,  i, n) { n = 0; for (i = 1; i <= length(octal); i++) n = n * 8 + substr(octal, i, 1); return n }
      { d = value($2) - value($3); if (d < 0) d = -d; if (d > 5) n++ } END { print n + 0 }')" 0 3000
done
# And it is the one that the driver makes, by a foreign reader: v4l2-ctl, in a format that needs no conversion.
v4l2-ctl -d $camera --set-fmt-video=width=320,height=180,pixelformat=YU12 --stream-mmap --stream-count=3 --stream-to=theirs 2>/dev/null
head -c $bytes theirs >theirs.one
between "the picture is that of v4l2-ctl" "$(cmp -l theirs.one YU12.one | wc -l)" 0 100
v4l2-ctl -d $camera --set-fmt-video=width=320,height=180,pixelformat=GREY --stream-mmap --stream-count=1 --stream-to=grey 2>/dev/null
# 0 to 255 becomes 16 to 235.
luma() { head -c 57600 "$1" | od -An -v -tu1 -w1; }
luma grey >grey.theirs
luma GREY.one | paste grey.theirs - >grey.both
between "GREY: the picture is that of v4l2-ctl, in limited range" \
  "$(awk '{ d = $1 * 219 / 255 + 16 - $2; if (d > 1 || d < -1) n++ } END { print n + 0 }' grey.both)" 0 100

# Exact modes and rates: the pictures of 2 seconds, of which two may be missing where it begins and ends.
for mode in 320x180@50 320x180@12.5 640x360@15; do
  fps=${mode#*@} width=${mode%x*} height=${mode#*x}
  height=${height%@*}
  capture mode --width "exact:$width" --height "exact:$height" --frame-rate "exact:$fps" --resize-mode exact:none --duration 2s -o mode.y4m --overwrite
  between "$mode: frames" "$(jq '.video.deliveredFrames' mode.json)" "$(awk "BEGIN { print 2 * $fps - 2 }")" "$(awk "BEGIN { print 2 * $fps + 1 }")"
  equal "$mode: the y4m" "$(head -n 1 mode.y4m | cut -d' ' -f2,3)" "W$width H$height"
done

# Crop and scale: a size that no mode has, and a rate. Unoptimised scaling is slow in an emulated machine.
capture scaled --width exact:120 --height exact:120 --frame-rate exact:5 --duration 2s -o scaled.y4m
equal "scaled: settings" "$(jq -c '.video.settings | [.width, .height, .aspectRatio, .frameRate, .resizeMode]' scaled.json)" \
  '[120,120,1,5,"crop-and-scale"]'
equal "scaled: the y4m" "$(head -n 1 scaled.y4m | cut -d' ' -f2-4)" "W120 H120 F5:1"
between "scaled: frames" "$(jq '.video.deliveredFrames' scaled.json)" 9 11
capture thinned --width exact:320 --height exact:180 --frame-rate exact:20 --duration 2s -o thinned.y4m
equal "thinned: settings" "$(jq -c '.video.settings | [.frameRate, .resizeMode]' thinned.json)" '[20,"crop-and-scale"]'
between "thinned: frames" "$(jq '.video.deliveredFrames' thinned.json)" 39 41
capture refused --width exact:200 --height exact:200 --resize-mode exact:none --duration 1s -o refused.y4m
equal "without scaling it cannot be, and the constraint is named" "$? $(jq -r '.error.name' refused.json) \
$(jq -r '.error.message' refused.json | grep -o 'width exact:200')" "3 OverconstrainedError width exact:200"
equal "and there is no output" "$(ls refused.y4m refused.y4m.part 2>/dev/null)" ""

capture explained --constraints '{"video":{"width":{"max":640},"frameRate":{"ideal":15},"resizeMode":{"exact":"none"}}}' --explain --duration 100ms
equal "every native mode is explained" "$(jq '[.considered[] | select(.settings.resizeMode == "none")] | length' explained.json)" \
  "$(rtckit devices --capabilities --json | jq '.devices[0].capabilities.modes | length')"
equal "what is too large is ruled out by width" \
  "$(jq -c '[.considered[] | select(.mode.width > 640 and .settings.resizeMode == "none") | .ruledOutBy] | unique' explained.json)" '["width"]'
equal "what is chosen has the least distance" \
  "$(jq '[.considered[].distance | values] | min' explained.json)" 0
equal "it is chosen" "$(jq -c '.video.settings.frameRate' explained.json)" 15

# A snapshot: not black, and not the first picture.
capture snapshot --snapshot shot.png
equal "the snapshot is a PNG of the camera's size" "$(jq -c '[.snapshot.width, .snapshot.height, .ended]' snapshot.json) $(head -c 4 shot.png | tail -c 3)" \
  '[640,480,"snapshot"] PNG'
between "pictures before the snapshot" "$(jq .snapshot.warmupFrames snapshot.json)" 3 60
capture again --snapshot shot.png
equal "a snapshot that exists is left alone" $? 13
capture jpeg --snapshot shot.jpg --warmup 12
equal "as JPEG, after 12 pictures" "$(jq .snapshot.warmupFrames jpeg.json) $(head -c 3 shot.jpg | od -An -tx1 | tr -d ' ')" "12 ffd8ff"
v4l2-ctl -d $camera --set-ctrl test_pattern=5
timeout 60 rtckit capture --video=camera:$camera --snapshot black.png 2>said
equal "the dark is said to be dark" "$? $(grep -c 'the picture is dark' said)" "0 1"

# To standard output, and nothing else there.
timeout 60 rtckit capture --video=camera:$camera --width exact:320 --height exact:180 --duration 500ms -o - --json >piped.y4m 2>piped.json
equal "standard output is y4m and the report goes to stderr" "$(head -c 9 piped.y4m) $(jq -r .schema piped.json)" "YUV4MPEG2 rtckit.capture/1"
equal "an output that exists is left alone" "$(capture full -o YUYV.i420 --duration 1s; echo $?)" 13
mkdir small && mount -t tmpfs -o size=1m tmpfs small
timeout 60 rtckit capture --video=camera:$camera -o small/full.y4m --duration 10s 2>said
equal "a full disk is said to be full" "$? $(grep -c 'No space left' said)" "13 1"
umount small
