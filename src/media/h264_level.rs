//! Levels of H.264: how much a decoder is ready for (ITU-T H.264 table A-1), as SDP says it (RFC 6184 section 8.1).

use std::fmt;

/// What a decoder takes of pictures, and of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H264Level {
    name: &'static str,
    macroblocks_per_second: u32,
    macroblocks: u32,
    kilobits_per_second: u32,
}

/// Each level by its `level_idc`. Level 1b has 11 as well in Baseline, with a flag.
const LEVELS: [(u8, H264Level); 20] = [
    (10, level("1", 1_485, 99, 64)),
    (9, level("1b", 1_485, 99, 128)),
    (11, level("1.1", 3_000, 396, 192)),
    (12, level("1.2", 6_000, 396, 384)),
    (13, level("1.3", 11_880, 396, 768)),
    (20, level("2", 11_880, 396, 2_000)),
    (21, level("2.1", 19_800, 792, 4_000)),
    (22, level("2.2", 20_250, 1_620, 4_000)),
    (30, level("3", 40_500, 1_620, 10_000)),
    (31, level("3.1", 108_000, 3_600, 14_000)),
    (32, level("3.2", 216_000, 5_120, 20_000)),
    (40, level("4", 245_760, 8_192, 20_000)),
    (41, level("4.1", 245_760, 8_192, 50_000)),
    (42, level("4.2", 522_240, 8_704, 50_000)),
    (50, level("5", 589_824, 22_080, 135_000)),
    (51, level("5.1", 983_040, 36_864, 240_000)),
    (52, level("5.2", 2_073_600, 36_864, 240_000)),
    (60, level("6", 4_177_920, 139_264, 240_000)),
    (61, level("6.1", 8_355_840, 139_264, 480_000)),
    (62, level("6.2", 16_711_680, 139_264, 800_000)),
];

const fn level(
    name: &'static str,
    macroblocks_per_second: u32,
    macroblocks: u32,
    kilobits_per_second: u32,
) -> H264Level {
    H264Level { name, macroblocks_per_second, macroblocks, kilobits_per_second }
}

impl H264Level {
    /// The level in a `profile-level-id`, six hexadecimal digits; `None` for others, and for levels that there are not.
    pub fn of_profile_level_id(id: &str) -> Option<Self> {
        let digits = id.len() == 6 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        let [_, profile, constraints, idc] = u32::from_str_radix(id, 16).ok().filter(|_| digits)?.to_be_bytes();
        // Baseline, Main and Extended say 1b by constraint_set3_flag.
        let is_1b = idc == 11 && constraints & 0x10 != 0 && matches!(profile, 66 | 77 | 88);
        let idc = if is_1b { 9 } else { idc };
        LEVELS.iter().find(|(known, _)| *known == idc).map(|(_, level)| *level)
    }

    /// The level with what a decoder says to take beyond it: `max-mbps`, `max-fs` and `max-br`. They only ever add.
    #[must_use]
    pub fn extended(self, max_mbps: Option<u32>, max_fs: Option<u32>, max_br: Option<u32>) -> Self {
        Self {
            macroblocks_per_second: self.macroblocks_per_second.max(max_mbps.unwrap_or(0)),
            macroblocks: self.macroblocks.max(max_fs.unwrap_or(0)),
            kilobits_per_second: self.kilobits_per_second.max(max_br.unwrap_or(0)),
            ..self
        }
    }

    /// Whether whoever decodes `other` decodes all of this.
    pub fn is_within(&self, other: &Self) -> bool {
        self.macroblocks <= other.macroblocks
            && self.macroblocks_per_second <= other.macroblocks_per_second
            && self.kilobits_per_second <= other.kilobits_per_second
    }

    /// Whether pictures of this size are within it.
    pub fn holds(&self, width: u32, height: u32) -> bool {
        let (columns, rows) = (u64::from(width.div_ceil(16)), u64::from(height.div_ceil(16)));
        let most = u64::from(self.macroblocks);
        columns * rows <= most && columns.max(rows).pow(2) <= 8 * most
    }

    /// Pictures of this size a second.
    pub fn max_frame_rate(&self, width: u32, height: u32) -> f64 {
        let macroblocks = f64::from(width.div_ceil(16).max(1)) * f64::from(height.div_ceil(16).max(1));
        f64::from(self.macroblocks_per_second) / macroblocks
    }

    /// Bits per second.
    pub fn max_bitrate(&self) -> u32 {
        self.kilobits_per_second.saturating_mul(1000)
    }
}

/// Whether `profile_idc` and the constraint flags mean Constrained Baseline, RFC 6184 table 5.
pub fn is_constrained_baseline(profile: u8, constraints: u8) -> bool {
    match profile {
        0x42 => constraints & 0x4f == 0x40,
        0x4d => constraints & 0x8f == 0x80,
        0x58 => constraints & 0xcf == 0xc0,
        _ => false,
    }
}

impl fmt::Display for H264Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(id: &str) -> Option<String> {
        H264Level::of_profile_level_id(id).map(|level| level.to_string())
    }

    #[test]
    fn a_profile_level_id_names_its_level() {
        for (id, name) in [("42e01f", "3.1"), ("42E00A", "1"), ("42e00b", "1.1"), ("64001f", "3.1"), ("4d8034", "5.2")]
        {
            assert_eq!(named(id).as_deref(), Some(name), "{id}");
        }
        // By a flag in Baseline and Main, by a number of its own in High, where the flag means something else.
        assert_eq!([named("42f00b"), named("640009"), named("64100b")].map(Option::unwrap), ["1b", "1b", "1.1"]);
        for id in ["", "42e0", "42e0ff", "42e01f0", "zzzzzz", "+2e01f", "42e021"] {
            assert_eq!(named(id), None, "{id}");
        }
    }

    #[test]
    fn sizes_and_rates_are_those_of_the_table() {
        let level = |id| H264Level::of_profile_level_id(id).unwrap();
        let hd = level("42e01f");
        assert!(hd.holds(1280, 720) && hd.holds(720, 1280) && !hd.holds(1281, 720) && !hd.holds(1920, 1080));
        assert!(hd.holds(2704, 16) && !hd.holds(2720, 16), "169 macroblocks on an edge");
        assert_eq!((hd.max_frame_rate(1280, 720), hd.max_bitrate()), (30.0, 14_000_000));
        assert!(level("42e00b").holds(352, 288) && !level("42f00b").holds(352, 288));
        assert_eq!(level("42e028").max_frame_rate(1920, 1080).floor(), 30.0);
        let more = hd.extended(Some(245_760), Some(8_160), None);
        assert!(more.holds(1920, 1080) && more.max_frame_rate(1920, 1080) > 30.0 && more.max_bitrate() == 14_000_000);
        assert_eq!(hd.extended(Some(1), Some(1), Some(1)), hd, "it never takes away");
        assert_eq!(hd.extended(None, None, Some(u32::MAX)).max_bitrate(), u32::MAX);
    }
}
