# A sound card that is a loop: what is played on one side of it, the other hears. ALSA alone, without a sound server.
. /tests/support/checks
export XDG_STATE_HOME=$PWD

# pitch FILE LEAST MOST: the frequency of a 16-bit stereo WAV, over the tenths of a second whose loudness is between the two: median.
pitch() {
  od -An -v -td2 -w4 -j44 "$1" | awk -v least="$2" -v most="$3" '
    { sample = $1 / 32768; power += sample * sample
      if (last < 0 && sample >= 0) { at = NR - sample / (sample - last); if (!rises) first = at; end = at; rises++ }
      last = sample }
    NR % 4800 == 0 {
      loud = power / 4800
      if (loud >= least * least && loud <= most * most && end > first) print 48000 * (rises - 1) / (end - first)
      power = 0; rises = 0 }' | sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}

# The loudest sample of a 16-bit WAV.
loudest() {
  od -An -v -td2 -w2 -j44 "$1" | awk '{ sample = $1 < 0 ? -$1 : $1; if (sample > most) most = sample } END { print most / 32768 }'
}

rtckit devices --json >list.json 2>complaints
equal "listing says nothing else" "$(cat complaints)" ""
equal "each side of the card hears" \
  "$(jq -r '[.devices[] | select(.kind == "audioinput") | .path] | join(" ")' list.json)" \
  "plughw:CARD=Loopback,DEV=0 plughw:CARD=Loopback,DEV=1"
equal "and plays" "$(jq '[.devices[] | select(.kind == "audiooutput")] | length' list.json)" 2
equal "one of each is the default" \
  "$(jq -c '[.devices[] | select(.default and (.kind | startswith("audio"))) | .kind] | sort' list.json)" \
  '["audioinput","audiooutput"]'
equal "both sides are one physical device" \
  "$(jq '[.devices[] | select(.kind | startswith("audio")) | .groupId] | unique | length' list.json)" 1

speaker-test -D plughw:CARD=Loopback,DEV=0 -c 2 -r 48000 -F S16_LE -t sine -f 500 -l 0 >/dev/null 2>&1 &
tone=$!
# Recorded, it is not processed as in a call, which an emulated processor is too slow for.
rtckit record --audio='microphone:plughw:CARD=Loopback,DEV=1' -o heard.webm --duration 6s
equal "a recording of a microphone" $? 0
rtckit call --loopback --audio=heard.webm --audio-output heard.wav
# speaker-test sounds on one side after the other.
between "what is played on the other side is heard" "$(pitch heard.wav 0.01 1)" 495 505

rtckit call --loopback --audio='microphone:plughw:CARD=Loopback,DEV=1' --record kept.webm &
call=$!
tries=0
while [ ! -s kept.webm.part ] && [ $tries -lt 100 ]; do usleep 100000; tries=$((tries + 1)); done
kill -INT $call
wait $call
equal "Ctrl-C hangs up" $? 130
check "and keeps the recording" test -s kept.webm
kill $tone
wait $tone 2>/dev/null

# Two can hear at once, a third cannot.
for number in 1 2; do arecord -D plughw:CARD=Loopback,DEV=1 -f S16_LE -r 48000 -c 2 busy$number.wav 2>/dev/null & done
tries=0
while [ "$(cat /proc/asound/Loopback/pcm1c/sub*/status | grep -c '^state')" -lt 2 ] && [ $tries -lt 100 ]; do
  usleep 50000
  tries=$((tries + 1))
done
rtckit call --loopback --audio='microphone:plughw:CARD=Loopback,DEV=1' 2>busy.txt
equal "a card that is in use" "$? $(grep -c 'in use by another program' busy.txt)" "4 1"
killall arecord
wait

arecord -D plughw:CARD=Loopback,DEV=1 -f S16_LE -r 48000 -c 2 -d 5 played.wav 2>/dev/null &
recorder=$!
rtckit call --loopback --audio=test --play --duration 7s
equal "a call that is played" $? 0
wait $recorder
between "what is received is played" "$(loudest played.wav)" 0.5 1

speaker-test -D plughw:CARD=Loopback,DEV=0 -c 2 -r 48000 -F S16_LE -t sine -f 500 -l 0 >/dev/null 2>&1 &
tone=$!
rtckit call --loopback --audio='microphone:plughw:CARD=Loopback,DEV=1' --record unplugged.webm 2>unplugged.txt &
call=$!
tries=0
while [ ! -s unplugged.webm.part ] && [ $tries -lt 100 ]; do usleep 100000; tries=$((tries + 1)); done
# Unbinding waits for those who have the card open, as a driver does.
echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/unbind &
unbind=$!
wait $call
equal "a card that is unplugged ends the call with the code for devices" $? 4
check "the message says so" grep -q 'is gone' unplugged.txt
check "what was recorded is kept" test -s unplugged.webm
kill $tone 2>/dev/null
wait $unbind
equal "then there is none" "$(rtckit devices --kind audioinput --json | jq '.devices | length')" 0
rtckit call --loopback --audio=microphone 2>none.txt
equal "and asking for one says so" "$? $(grep -c 'there is no microphone' none.txt)" "4 1"
echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/bind
