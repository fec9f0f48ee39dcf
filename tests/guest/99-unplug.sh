# All cameras are unplugged and plugged in again: `devices --watch` tells of both, and the list follows. Comes last.
. /tests/support/checks
export XDG_STATE_HOME=/tmp/state

# until_says WORD FILE
until_says() {
  for _ in $(seq 300); do
    ! grep -q "$1" "$2" || return 0
    sleep 0.1
  done
  return 1
}

rtckit devices --kind videoinput --watch --events >changes.ndjson &
watching=$!
# It has listed what is there before anything changes.
until_says watching changes.ndjson || fail "it never began"
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
until_says '"removed":\[{' changes.ndjson || fail "nobody says that the cameras are gone"
equal "all cameras went" "$(jq -c 'select(.type == "devicechange") | [(.added | length), (.removed | length)]' changes.ndjson | head -n 1)" "[0,5]"
equal "and are not listed" "$(rtckit devices --kind videoinput --json | jq '.devices | length')" 0
rtckit capture --video --json >none.json
equal "there is no camera to capture" "$? $(jq -r .error.name none.json)" "4 NotFoundError"
echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
until_says '"added":\[{' changes.ndjson || fail "nobody says that the cameras are back"
kill -INT $watching
wait $watching
equal "watching ends in order" "$? $(tail -n 1 changes.ndjson | jq -r '[.type, (.devices | length)] | join(" ")')" "0 result 5"
