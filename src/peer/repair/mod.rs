//! Lost packets: asked for again, and sent again (RFC 4585 section 6.2.1, RFC 4588).
//!
//! The library has both halves, but its asker does not notice what came under the number of a repair stream and asks on, and
//! its answerer sends all that it is asked for, however often: on a narrow path that fills what is left of it.

mod asker;
mod resender;

pub(super) use asker::Asker;
pub(super) use resender::Resender;

use rtc::interceptor::StreamInfo;

/// Whether lost packets of a stream are asked for.
fn is_repaired(info: &StreamInfo) -> bool {
    info.rtcp_feedback.iter().any(|feedback| feedback.typ == "nack" && feedback.parameter.is_empty())
}
