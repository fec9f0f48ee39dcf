#!/bin/bash
# All figures of file transfer for benches/README.md, about half an hour on an otherwise idle machine. Needs root, nft, coturn,
# pip and npm. scp is among them where there is an sshd.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --bin rtckit
benches/transfer.py --rounds 3 --only loopback,loss,far,far-loss,ipv6,relay,small,start
benches/transfer.py --rounds 1 --only killed
benches/transfer.py --rounds 3 --only loopback --stock
benches/transfer_peers.py --rounds 3
