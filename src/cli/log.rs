//! Logs: on stderr, quiet by default. Secrets and whole SDP appear from `-vv` on only.

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` wins over `-q` and `-v`.
pub fn start(verbose: u8, quiet: bool, color: bool) {
    let filter = match (quiet, verbose) {
        (true, _) => "off",
        (false, 0) => "off,rtckit=warn",
        (false, 1) => "error,rtckit=info",
        (false, 2) => "info,rtckit=debug",
        (false, _) => "debug,rtckit=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    // Fails only when logging has been started already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color).try_init();
}
