//! How much a peer lets us send: the `b=` lines of its description (RFC 8866 section 5.8, RFC 3890), read as RFC 9429 section 5.9 has it,
//! and what it says of Opus (RFC 7587 section 6.1).

use super::form::parameter;
use super::renegotiation::{is_refused, parts};

/// Bits per second at most; `None` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bandwidth {
    /// For all together, with the headers of RTP and without those below it.
    pub session: Option<f64>,
    /// For a video, likewise.
    pub video: Option<f64>,
    /// For what an encoder of sound makes.
    pub audio: Option<f64>,
}

/// Headers of forty bytes, fifty times a second, for what RFC 9429 knows no better; and those of RTP.
const BELOW_RTP: f64 = 50.0 * 40.0 * 8.0;
const RTP: f64 = 50.0 * 12.0 * 8.0;

impl Bandwidth {
    pub(super) fn of(sdp: &str) -> Self {
        let sections =
            |kind: &'static str| parts(sdp).skip(1).filter(move |part| part.starts_with(kind) && !is_refused(part));
        let sound = |part| [said(part).map(|bits| bits - RTP), opus(part)].into_iter().flatten().reduce(f64::min);
        Self {
            session: parts(sdp).next().and_then(said),
            video: sections("m=video").filter_map(said).reduce(f64::min),
            audio: sections("m=audio").filter_map(sound).reduce(f64::min).map(|bits| bits.max(1.0)),
        }
    }
}

fn said(part: &str) -> Option<f64> {
    let of = |kind: &str| -> Option<f64> {
        let value = part.lines().find_map(|line| line.strip_prefix("b=")?.strip_prefix(kind)?.strip_prefix(':'))?;
        value.trim().parse::<u32>().ok().filter(|value| *value > 0).map(f64::from)
    };
    let with_headers =
        || of("AS").or_else(|| of("CT")).map(|kbit| (kbit * 1000.0).mul_add(0.95, -BELOW_RTP).max(1000.0));
    of("TIAS").or_else(with_headers)
}

fn opus(section: &str) -> Option<f64> {
    let parameters = section.lines().filter_map(|line| line.strip_prefix("a=fmtp:")?.split_once(' '));
    let said = parameters.filter_map(|(_, fmtp)| parameter(fmtp, "maxaveragebitrate")?.parse::<u32>().ok());
    said.map(f64::from).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_description_allows_is_read_for_all_and_for_each_kind() {
        let sdp = "v=0\r\nb=CT:2000\r\nm=audio 9 X 111\r\nb=AS:60\r\na=fmtp:111 minptime=10; maxaveragebitrate=32000\r\n\
            m=video 9 X 96\r\nb=AS:500\r\nb=TIAS:400000\r\nm=video 9 X 96\r\nb=AS:1000\r\nm=video 0 X 96\r\nb=TIAS:1000\r\n";
        let expected = Bandwidth { session: Some(1_884_000.0), video: Some(400_000.0), audio: Some(32_000.0) };
        assert_eq!(Bandwidth::of(sdp), expected);
        assert_eq!(Bandwidth::of(&sdp.replace("=32000", "=320000")).audio, Some(60_000.0 * 0.95 - 16_000.0 - 4_800.0));
        let odd = "v=0\r\nm=audio 9 X 111\r\na=fmtp:111 maxaveragebitrate=x\r\nm=video 9 X 96\r\nb=TIAS:0\r\nb=AS:many\r\nb=X-YZ:12\r\n";
        assert_eq!(Bandwidth::of(odd), Bandwidth::default());
        let least = Bandwidth::of("v=0\r\nm=audio 9 X 0\r\nb=AS:1\r\nm=video 9 X 96\r\nb=AS:10\r\n");
        assert_eq!((least.audio, least.video), (Some(1.0), Some(1000.0)));
    }
}
