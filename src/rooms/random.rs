//! Names that nobody guesses.

use super::protocol::{CloseCode, Fault};
use ring::rand::{SecureRandom, SystemRandom};

/// `BYTES` random bytes, in letters, digits, `-` and `_`.
pub(super) fn text<const BYTES: usize>(random: &SystemRandom) -> Result<String, Fault> {
    use base64::Engine;
    let mut bytes = [0; BYTES];
    // The system has had entropy since it started.
    let drawn = random.fill(&mut bytes).map_err(|_| Fault::new(CloseCode::GoingAway, "no random numbers"));
    drawn.map(|()| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes))
}
