#!/usr/bin/env bash
# What a 720p picture costs with the video codecs of a call, ours and ffmpeg's side by side: CPU time, bitrate, likeness.
#
#   benches/codecs.sh [THREADS]        by default 2
set -euo pipefail
cd "$(dirname "$0")/.."

threads=${1:-2} bitrate=1500000 pictures=300 seconds=10
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
film=$work/film.y4m
ffmpeg -v error -nostdin -f lavfi -i "testsrc2=size=1280x720:rate=30:duration=$seconds" -pix_fmt yuv420p "$film"

cargo bench --quiet --locked --bench codecs -- "$film" "$bitrate" "$threads"

# name, then the options of ffmpeg
foreign() {
  local name=$1 out=$work/out.mkv bench cpu bytes psnr
  shift
  bench=$(ffmpeg -nostdin -hide_banner -benchmark -y -i "$film" -an "$@" -g 9999 -threads "$threads" "$out" 2>&1)
  cpu=$(sed -n 's/.*bench: utime=\([0-9.]*\)s stime=\([0-9.]*\)s.*/\1 \2/p' <<<"$bench" | tail -1)
  bytes=$(stat -c %s "$out")
  psnr=$(ffmpeg -nostdin -hide_banner -i "$out" -i "$film" -fps_mode passthrough -lavfi \
    '[0:v]settb=1/30,setpts=N[a];[1:v]settb=1/30,setpts=N[b];[a][b]psnr' -f null - 2>&1 |
    sed -n 's/.*PSNR y:\([0-9.]*\).*/\1/p')
  awk -v name="$name" -v cpu="$cpu" -v n="$pictures" -v bytes="$bytes" -v s="$seconds" -v psnr="$psnr" 'BEGIN {
    split(cpu, time, " ")
    printf "| %s | %.1f | | %.0f | %.1f dB | |\n", name, (time[1] + time[2]) * 1000 / n, bytes * 8 / 1000 / s, psnr
  }'
}

rate=(-b:v "$bitrate" -minrate "$bitrate" -maxrate "$bitrate" -bufsize "$bitrate")
foreign "ffmpeg, libvpx VP8" -c:v libvpx -deadline realtime -cpu-used 8 -lag-in-frames 0 -auto-alt-ref 0 "${rate[@]}"
foreign "ffmpeg, libvpx VP9" -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -row-mt 1 -tile-columns 1 -aq-mode 3 \
  -lag-in-frames 0 -auto-alt-ref 0 "${rate[@]}"
foreign "ffmpeg, libx264 ultrafast" -c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline "${rate[@]}"
foreign "ffmpeg, libaom AV1" -c:v libaom-av1 -usage realtime -cpu-used 8 -row-mt 1 -tiles 2x1 -aq-mode 3 \
  -lag-in-frames 0 "${rate[@]}"
