//! How descriptions travel.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rtckit::ops::call::SdpFormat;

/// `--signal`, `--sdp-format`, `--trickle`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Signaling")]
pub struct SignalingArgs {
    /// The road to the other side; - is standard input and output: one description out, one in. Reading
    /// recognises JSON, SDP, base64 and compact by itself
    #[arg(long, value_name = "ENDPOINT", default_value = "-", value_parser = endpoint)]
    pub signal: String,
    /// The form of the description we write
    #[arg(long, value_name = "FORMAT", default_value_t, value_parser = formats())]
    pub sdp_format: SdpFormat,
    /// Send candidates as they are found, as lines of JSON behind the description
    #[arg(long)]
    pub trickle: bool,
}

fn formats() -> impl TypedValueParser<Value = SdpFormat> {
    PossibleValuesParser::new(SdpFormat::ALL.map(SdpFormat::as_str)).try_map(|word| word.parse::<SdpFormat>())
}

fn endpoint(text: &str) -> Result<String, String> {
    match text {
        "-" => Ok(text.to_owned()),
        _ => Err("use - (standard input and output)".to_owned()),
    }
}
