//! The `rtckit` binary.

fn main() {}
