//! Whether H.264 that is sent as it is, from a file, is what the peer agreed to decode.

use crate::error::Error;
use crate::media::h264::{nal, nal_units};
use crate::media::{EncodedFrame, H264Level, Source, is_constrained_baseline};
use crate::progress::{Event, Progress};
use crate::stop::Stop;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A source of H.264 of which the user is told if it does not suit the peer. It is sent all the same: many decoders take more than
/// they say.
pub(super) struct Suiting {
    source: Box<dyn Source<EncodedFrame>>,
    agreed: Option<H264Level>,
    /// Who is to be told, until the first parameters have come.
    progress: Option<Arc<dyn Progress>>,
}

impl Suiting {
    pub fn new(source: Box<dyn Source<EncodedFrame>>, agreed: Option<H264Level>, progress: Arc<dyn Progress>) -> Self {
        Self { source, agreed, progress: Some(progress) }
    }
}

impl Source<EncodedFrame> for Suiting {
    fn next(&mut self, stop: &Stop) -> Result<Option<EncodedFrame>, Error> {
        let frame = self.source.next(stop)?;
        if let Some(frame) = &frame
            && let Some(said) = parameters(&frame.data)
            && let Some(progress) = self.progress.take()
            && let Some(message) = misfit(said, self.agreed)
        {
            progress.event(Event::Warning { message });
        }
        Ok(frame)
    }

    fn lost(&self) -> Option<Arc<AtomicU64>> {
        self.source.lost()
    }
}

/// `profile_idc`, the constraint flags and `level_idc` of an access unit that has a sequence parameter set.
fn parameters(stream: &[u8]) -> Option<[u8; 3]> {
    let set = nal_units(stream).find(|unit| nal::kind(unit[0]) == nal::SPS)?;
    set.get(1..4)?.try_into().ok()
}

/// What of a stream the peer did not agree to.
fn misfit([profile, constraints, level]: [u8; 3], agreed: Option<H264Level>) -> Option<String> {
    let name = match profile {
        66 => "Baseline without the constrained flag",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        _ => "of another profile",
    };
    let has = H264Level::of_profile_level_id(&format!("{profile:02x}{constraints:02x}{level:02x}"));
    let too_high = has.zip(agreed).is_some_and(|(has, agreed)| !has.is_within(&agreed));
    let what = match (is_constrained_baseline(profile, constraints), has) {
        (true, _) if !too_high => return None,
        (true, Some(has)) => format!("of level {has}"),
        (true, None) => return None,
        (false, Some(has)) => format!("{name}, level {has}"),
        (false, None) => name.to_owned(),
    };
    let up_to = agreed.map_or_else(String::new, |level| format!(" up to level {level}"));
    Some(format!(
        "the file's H.264 is {what}: the peer agreed to Constrained Baseline{up_to}, and may not show it; another --video-codec encodes it anew"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_peer_did_not_agree_to_is_named_and_the_rest_is_not() {
        let agreed = H264Level::of_profile_level_id("42e01f");
        let told = |id: [u8; 3]| misfit(id, agreed);
        assert_eq!([told([0x42, 0xe0, 31]), told([0x42, 0xc0, 30]), told([0x4d, 0x80, 31])], [None, None, None]);
        for (id, said) in [
            ([0x42, 0xe0, 40], "of level 4: "),
            ([0x42, 0x00, 31], "Baseline without the constrained flag, level 3.1: "),
            ([0x64, 0x00, 40], "High, level 4: "),
            ([0x4d, 0x00, 0xff], "Main: "),
        ] {
            let message = told(id).unwrap();
            assert!(message.contains(said) && message.contains("Constrained Baseline up to level 3.1"), "{message}");
        }
        assert_eq!(misfit([0x42, 0xe0, 62], None), None, "the peer names no level");
    }

    #[test]
    fn the_parameters_are_those_of_the_first_set_in_the_stream() {
        let stream = [0, 0, 0, 1, 9, 0x10, 0, 0, 1, 0x67, 0x64, 0x00, 0x28, 0xac, 0, 0, 1, 0x68, 1];
        assert_eq!(parameters(&stream), Some([0x64, 0x00, 0x28]));
        assert_eq!(parameters(&stream[..6]), None);
        assert_eq!(parameters(&[0, 0, 1, 0x67, 0x64]), None);
    }
}
