# The guest itself: if this fails, nothing else means anything.
. /tests/support/checks
uname -a
v4l2-ctl --list-devices
ls -la /dev/video*
cat /proc/asound/cards
arecord -l
check "the binary runs" rtckit --version
for number in 0 1 2 3 4; do check "there is a camera video$number" test -c "/dev/video$number"; done
check "there is a sound card" grep -q Loopback /proc/asound/cards
