# `devices` lists each camera once and nothing that is no camera, says what the drivers say, and keeps its IDs.
. /tests/support/checks
export XDG_STATE_HOME=$PWD

rtckit devices --kind videoinput --capabilities --json >list.json
equal "all cameras are listed, in order" \
  "$(jq -r '.devices[] | select(.kind == "videoinput") | .path' list.json | tr '\n' ' ')" \
  "/dev/video0 /dev/video1 /dev/video2 /dev/video3 /dev/video4 "
equal "nodes that are no cameras are not" "$(jq '[.devices[] | select(.path | test("video2[012]"))] | length' list.json)" 0
equal "the first is the default" "$(jq -r '[.devices[] | select(.default) | .path] | join(" ")' list.json)" /dev/video0
equal "IDs differ" "$(jq -r '[.devices[].deviceId] | unique | length' list.json)" 5
equal "cameras of different devices have different groups" "$(jq -r '[.devices[].groupId] | unique | length' list.json)" 5
equal "the label is that of the driver" "$(jq -r '.devices[0].label' list.json)" \
  "$(v4l2-ctl -d /dev/video0 --info | sed -n 's/.*Card type *: //p')"

rtckit devices --kind videoinput --json >again.json
equal "IDs stay" "$(jq -c '[.devices[].deviceId]' again.json)" "$(jq -c '[.devices[].deviceId]' list.json)"
equal "the salt is for its user alone" "$(stat -c %a rtckit/device-salt)" 600
equal "without --capabilities there are none" "$(jq '[.devices[] | has("capabilities")] | any' again.json)" false
XDG_STATE_HOME=$PWD/other rtckit devices --kind videoinput --json >other.json
equal "another salt makes other IDs" \
  "$(jq -s '[.[].devices[].deviceId] | unique | length' list.json other.json)" 10

# Every mode that v4l2-ctl lists of a format that we claim, and no other. Rates with two digits, as v4l2-ctl prints them.
v4l2-ctl -d /dev/video0 --list-formats-ext | awk '
  match($0, /\047....\047/) { format = substr($0, RSTART + 1, 4) }
  /Size: Discrete/ { size = $3 }
  /Interval: Discrete/ { sub(/^\(/, "", $4); printf "%s %s %.2f\n", format, size, $4 }' | sort -u >theirs
jq -r '.devices[0].capabilities.modes[] | [.pixelFormat, "\(.width)x\(.height)", .frameRate] | @tsv' list.json |
  awk '{ printf "%s %s %.2f\n", $1, $2, $3 }' | sort -u >ours
cut -d' ' -f1 ours | sort -u >formats
equal "its formats" "$(tr '\n' ' ' <formats)" "422P AR24 BGR3 GREY NV12 NV21 RGB3 UYVY VYUY XR24 YU12 YUYV YV12 YVYU "
grep -F -f formats theirs >wanted
check "every mode is listed, exactly" cmp ours wanted
between "modes" "$(wc -l <ours)" 500 2000
equal "frameRate goes up to the fastest mode" "$(jq '.devices[0].capabilities.frameRate.max' list.json)" \
  "$(jq '[.devices[0].capabilities.modes[].frameRate] | max' list.json)"

check "what is required and there is no error" rtckit devices --require videoinput
equal "people get a line for each" "$(rtckit devices --kind videoinput | wc -l)" 5
