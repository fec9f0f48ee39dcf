//! Where a room is: `ws://HOST[:PORT]/ROOM` or `wss://…`.

use super::RoomError;
use std::fmt;
use std::str::FromStr;
use tokio_tungstenite::tungstenite::http::Uri;

/// The URL of a room, or of a server whose room is not chosen yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomUrl {
    secure: bool,
    /// As it is written, with its port.
    authority: String,
    host: String,
    port: u16,
    /// Ends in the name of the room; that is empty where it is not chosen.
    path: String,
}

impl RoomUrl {
    /// The name of the room; `None` where only the server is named.
    pub fn room(&self) -> Option<&str> {
        self.path.rsplit('/').next().filter(|room| !room.is_empty())
    }

    /// The same server, and this room.
    #[must_use]
    pub fn with_room(&self, room: &str) -> Self {
        let end = self.path.rfind('/').map_or(0, |slash| slash + 1);
        Self { path: format!("{}{room}", &self.path[..end]), ..self.clone() }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// An IPv6 address is without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for RoomUrl {
    type Err = RoomError;

    fn from_str(text: &str) -> Result<Self, RoomError> {
        let fail = |why: &'static str| RoomError::Url { url: text.to_owned(), why };
        let uri: Uri = text.parse().map_err(|_| fail("it is no URL"))?;
        let secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(fail("use ws: or wss:")),
        };
        let authority = uri.authority().ok_or_else(|| fail("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(fail("rooms take no user name"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| fail("it has no host"))?;
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        if port == 0 || uri.query().is_some() {
            return Err(fail("use ws://HOST[:PORT]/ROOM"));
        }
        let (authority, host) = (authority.to_string(), host.trim_matches(['[', ']']).to_owned());
        let path = if uri.path().is_empty() { "/" } else { uri.path() }.to_owned();
        Ok(Self { secure, authority, host, port, path })
    }
}

impl fmt::Display for RoomUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_and_mostly_a_room() {
        for (text, host, port, room) in [
            ("ws://127.0.0.1:8443/demo", "127.0.0.1", 8443, Some("demo")),
            ("wss://a.example/demo", "a.example", 443, Some("demo")),
            ("ws://a.example", "a.example", 80, None),
            ("ws://[::1]:9/x/y", "::1", 9, Some("y")),
        ] {
            let url: RoomUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port(), url.room()), (host, port, room), "{text}");
            assert_eq!(url.to_string().parse::<RoomUrl>().unwrap(), url);
        }
        let server: RoomUrl = "wss://a.example/behind/".parse().unwrap();
        assert_eq!(server.with_room("7-a-b").to_string(), "wss://a.example/behind/7-a-b");
        for text in ["", "demo", "http://a.example/demo", "ws:///demo", "ws://u:p@a/demo", "ws://a:0/x", "ws://a/x?y"] {
            assert!(text.parse::<RoomUrl>().is_err(), "{text}");
        }
    }
}
