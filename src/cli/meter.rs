//! One line on a terminal that says how a capture goes: pictures, and how loud it is.

use rtckit::progress::Event;
use std::fmt::Write;

/// The quietest level that the bar shows, in dBFS.
const FLOOR: f64 = -60.0;
/// How wide the bar is.
const WIDTH: usize = 20;

/// What the line says of an event.
pub fn text(event: &Event) -> Option<String> {
    let Event::Capturing {
        seconds,
        delivered_frames,
        discarded_frames,
        lost_frames,
        late_frames,
        frames_per_second,
        peak,
        rms,
    } = event
    else {
        return None;
    };
    let mut text = format!("{seconds:6.1} s");
    if *delivered_frames > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, "  {delivered_frames} frames  {frames_per_second:.1} fps");
        let _ = write!(text, "  {} dropped  {late_frames} late", discarded_frames + lost_frames);
    }
    if let Some(rms) = rms {
        let _ = write!(text, "  {} {rms:.0} dBFS, peak {:.0}", bar(*rms), peak.unwrap_or(*rms));
    }
    Some(text)
}

fn bar(level: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the width")]
    let filled = ((1.0 - level / FLOOR).clamp(0.0, 1.0) * WIDTH as f64).round() as usize;
    format!("{}{}", "#".repeat(filled), "-".repeat(WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_at_0_dbfs_and_empty_at_the_floor() {
        assert_eq!(bar(0.0), "#".repeat(WIDTH));
        assert_eq!(bar(-60.0), "-".repeat(WIDTH));
        assert_eq!(bar(-200.0), "-".repeat(WIDTH));
        assert_eq!(bar(-30.0).matches('#').count(), WIDTH / 2);
    }
}
