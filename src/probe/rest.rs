//! Credentials for a limited time, made from a secret that server and provider share: "TURN REST API",
//! draft-uberti-behave-turn-rest-00. The user name is the time of expiry, in seconds since 1970, and may go on with `:NAME`;
//! the password is the HMAC-SHA1 of the user name under the secret, in base64.

use super::wire;
use crate::ice_server::Secret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A user name, and the password for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// Makes a credential that expires `lifetime` after `now`.
pub fn mint(secret: &Secret, name: Option<&str>, now: SystemTime, lifetime: Duration) -> Credentials {
    let expiry = (now + lifetime).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let username = match name {
        Some(name) => format!("{expiry}:{name}"),
        None => expiry.to_string(),
    };
    let password = BASE64_STANDARD.encode(wire::hmac_sha1(secret, username.as_bytes()));
    Credentials { username, password: Secret::new(password) }
}

/// The time of expiry that a user name of this kind carries, in seconds since 1970.
pub(super) fn expiry(username: &str) -> Option<i64> {
    let number = username.split(':').next()?;
    let plausible = number.len() == 10 && number.bytes().all(|byte| byte.is_ascii_digit());
    plausible.then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_the_hmac_of_its_user_name() {
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let made = mint(&Secret::new("north"), Some("alice"), at, Duration::from_secs(3600));
        assert_eq!(made.username, "1700003600:alice");
        // printf 1700003600:alice | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(made.password.reveal(), "wjwSXO2ch1B6VaLTLMy2Avn5O9o=");
        assert_eq!(expiry(&made.username), Some(1_700_003_600));
        assert_eq!(mint(&Secret::new("north"), None, at, Duration::ZERO).username, "1700000000");
        assert_eq!(expiry("alice"), None);
        assert_eq!(expiry("12345:alice"), None);
    }
}
