//! The forms in which codecs are spoken: what format parameters (`a=fmtp`) say of profile, packets and level.

use crate::media::{Codec, H264Level, is_constrained_baseline};

/// A codec in one of the forms that its packets may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub codec: Codec,
    /// Whether each NAL unit is one packet: packetization-mode 0 of H.264, RFC 6184 section 6.2.
    pub single_units: bool,
}

impl Form {
    /// The forms of a codec that we speak, the preferred first.
    pub fn of(codec: Codec) -> impl Iterator<Item = Self> {
        let several = codec == Codec::H264;
        [false, true].into_iter().take(1 + usize::from(several)).map(move |single_units| Self { codec, single_units })
    }

    /// The form that a media type with these format parameters is; `None` for one that we do not speak.
    pub fn read(mime_type: &str, fmtp: &str) -> Option<Self> {
        let codec = Codec::from_mime_type(mime_type)?;
        let is_ours = match codec {
            Codec::Vp8 | Codec::Opus | Codec::Pcmu | Codec::Pcma => true,
            // RFC 9628 section 7: profile 0 where it is not said.
            Codec::Vp9 => parameter(fmtp, "profile-id").is_none_or(|profile| profile == "0"),
            // Main where it is not said. Level and tier are what each side can receive, and need not be the same.
            Codec::Av1 => parameter(fmtp, "profile").is_none_or(|profile| profile == "0"),
            // RFC 6184 section 8.2.2: mode and profile are to be the same on both sides; the level is not.
            Codec::H264 => {
                matches!(packetization_mode(fmtp), "0" | "1")
                    && parameter(fmtp, "profile-level-id").is_some_and(names_constrained_baseline)
            }
        };
        is_ours.then(|| Self { codec, single_units: codec == Codec::H264 && packetization_mode(fmtp) == "0" })
    }

    /// The format parameters with which we offer it.
    pub const fn fmtp(self) -> &'static str {
        match (self.codec, self.single_units) {
            (Codec::Vp8 | Codec::Pcmu | Codec::Pcma, _) => "",
            (Codec::Vp9, _) => "profile-id=0",
            // Level 5.1: what is received may be 3840x2160 at 30 pictures a second.
            (Codec::H264, false) => "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e033",
            (Codec::H264, true) => "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e033",
            (Codec::Av1, _) => "profile=0",
            (Codec::Opus, _) => "minptime=10;useinbandfec=1",
        }
    }

    /// The payload type under which we offer it. That of its retransmissions is one more.
    pub const fn payload_type(self) -> u8 {
        match (self.codec, self.single_units) {
            (Codec::Vp8, _) => 96,
            (Codec::Vp9, _) => 98,
            (Codec::H264, false) => 102,
            (Codec::H264, true) => 106,
            (Codec::Av1, _) => 104,
            (Codec::Opus, _) => 111,
            (Codec::Pcmu, _) => 0,
            (Codec::Pcma, _) => 8,
        }
    }
}

/// A form in the words of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub form: Form,
    pub fmtp: String,
}

impl Said {
    /// What the other side can decode, as far as it says.
    ///
    /// Where one of the sides does not allow for levels that differ, the answer has that of both; so it is always the one that
    /// the other side names (RFC 6184 section 8.2.2).
    pub fn level(&self) -> Option<H264Level> {
        let said = |name| parameter(&self.fmtp, name);
        let level = said("profile-level-id").filter(|_| self.form.codec == Codec::H264)?;
        let number = |name| said(name)?.parse().ok();
        Some(H264Level::of_profile_level_id(level)?.extended(number("max-mbps"), number("max-fs"), number("max-br")))
    }
}

/// The format parameters with a `packetization-mode`: the library knows no H.264 without.
pub(super) fn with_packetization_mode(fmtp: &str) -> String {
    match parameter(fmtp, "packetization-mode") {
        Some(_) => fmtp.to_owned(),
        None => format!("{fmtp};packetization-mode={}", packetization_mode(fmtp)),
    }
}

/// RFC 6184 section 8.1: 0 where it is not said.
fn packetization_mode(fmtp: &str) -> &str {
    parameter(fmtp, "packetization-mode").unwrap_or("0")
}

pub(super) fn parameter<'a>(fmtp: &'a str, wanted: &str) -> Option<&'a str> {
    let mut pairs = fmtp.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
}

/// Whether a `profile-level-id` is one of those that mean Constrained Baseline.
fn names_constrained_baseline(profile_level_id: &str) -> bool {
    let Ok(id) = u32::from_str_radix(profile_level_id, 16) else { return false };
    let [0, profile, constraints, _] = id.to_be_bytes() else { return false };
    profile_level_id.len() == 6 && is_constrained_baseline(profile, constraints)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec_of(mime_type: &str, fmtp: &str) -> Option<Codec> {
        Form::read(mime_type, fmtp).map(|form| form.codec)
    }

    #[test]
    fn format_parameters_decide() {
        assert_eq!(codec_of("video/vp9", ""), Some(Codec::Vp9));
        assert_eq!(codec_of("video/VP9", "max-fr=30; profile-id = 1"), None);
        assert_eq!(codec_of("video/AV1", "level-idx=5;profile=0;tier=0"), Some(Codec::Av1));
        assert_eq!(codec_of("video/AV1", "level-idx=5;profile=1;tier=0"), None);
        assert_eq!(codec_of("video/rtx", "apt=96"), None);
        let h264 = |mode: u8, profile: &str| {
            Form::read("video/H264", &format!("packetization-mode={mode};profile-level-id={profile}"))
                .map(|form| form.single_units)
        };
        for constrained in ["42e01f", "42C02A", "4d801f", "58c01e"] {
            assert_eq!([h264(1, constrained), h264(0, constrained)], [Some(false), Some(true)], "{constrained}");
        }
        assert_eq!(h264(2, "42e01f"), None, "interleaved");
        for other in ["42001f", "4d001f", "64001f", "640c1f", "42e0", "", "zzzzzz", "142e01f"] {
            assert_eq!([h264(1, other), h264(0, other)], [None, None], "{other}");
        }
        let unsaid = Form::read("video/H264", "profile-level-id=42e01f").unwrap();
        assert!(unsaid.single_units, "where nothing is said of the mode");
        assert_eq!(codec_of("video/H264", ""), None, "Baseline, where nothing is said of the profile");
    }

    #[test]
    fn what_we_offer_is_what_we_speak() {
        for codec in Codec::ALL {
            for form in Form::of(codec) {
                assert_eq!(Form::read(codec.mime_type(), form.fmtp()), Some(form));
            }
        }
    }

    #[test]
    fn the_level_is_the_one_that_the_other_side_names() {
        let level = |fmtp: &str| {
            let form = Form::read("video/H264", fmtp).unwrap();
            Said { form, fmtp: fmtp.to_owned() }.level().map(|level| level.to_string())
        };
        assert_eq!(level("profile-level-id=42e01f;packetization-mode=1").as_deref(), Some("3.1"));
        assert_eq!(level("profile-level-id=42e0ff"), None);
        let fmtp = "profile-level-id=42e01f; max-fs=8160 ;max-mbps=245760".to_owned();
        let extended = Said { form: Form { codec: Codec::H264, single_units: true }, fmtp }.level().unwrap();
        assert!(extended.holds(1920, 1080));
        let vp9 = Said { form: Form::of(Codec::Vp9).next().unwrap(), fmtp: "profile-level-id=42e01f".to_owned() };
        assert_eq!(vp9.level(), None);
    }

    #[test]
    fn the_mode_is_said_where_it_goes_without_saying() {
        let said = with_packetization_mode("profile-level-id=42e01f");
        assert_eq!(Form::read("video/H264", &said), Form::read("video/H264", "profile-level-id=42e01f"));
        assert!(said.ends_with(";packetization-mode=0"));
        assert_eq!(with_packetization_mode(&said), said);
    }

    #[test]
    fn payload_types_do_not_collide() {
        let forms = Codec::ALL.into_iter().flat_map(Form::of).map(Form::payload_type);
        let mut all: Vec<u8> = forms.flat_map(|number| [number, number + 1]).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
    }
}
