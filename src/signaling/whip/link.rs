//! STUN and TURN servers in `Link` headers (RFC 8288; RFC 9725 section 4.6).

use crate::ice_server::{IceServer, Secret};

/// The servers of one header with `rel="ice-server"`; those that cannot be used are left out, with a note in the log.
pub(super) fn ice_servers(header: &str) -> Vec<IceServer> {
    links(header).into_iter().filter_map(|link| link.ice_server()).collect()
}

#[derive(Default)]
struct Link {
    target: String,
    parameters: Vec<(String, String)>,
}

impl Link {
    fn parameter(&self, name: &str) -> Option<&str> {
        // The first of a name counts (RFC 8288 section 3).
        self.parameters.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn ice_server(&self) -> Option<IceServer> {
        let relations = self.parameter("rel")?;
        relations.split_ascii_whitespace().find(|relation| relation.eq_ignore_ascii_case("ice-server"))?;
        let mut server = match IceServer::parse(&self.target) {
            Ok(server) => server,
            Err(error) => {
                tracing::warn!("ignored an ICE server of the other side: {error}");
                return None;
            }
        };
        if self.parameter("credential-type").is_none_or(|kind| kind.eq_ignore_ascii_case("password")) {
            server.username = server.username.or_else(|| self.parameter("username").map(str::to_owned));
            server.credential = server.credential.or_else(|| self.parameter("credential").map(Secret::new));
        }
        if server.lacks_credentials() {
            tracing::warn!("ignored an ICE server of the other side, which gave no credentials: {}", self.target);
            return None;
        }
        Some(server)
    }
}

/// The links of a header. What is damaged ends it.
fn links(header: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let mut rest = header.trim_start();
    while let Some((target, after)) = rest.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        let mut link = Link { target: target.trim().to_owned(), ..Link::default() };
        rest = after.trim_start();
        while let Some(after) = rest.strip_prefix(';') {
            let (name, after) = token(after.trim_start());
            rest = after.trim_start();
            let mut value = String::new();
            if let Some(after) = rest.strip_prefix('=') {
                (value, rest) = word(after.trim_start());
            }
            if !name.is_empty() {
                link.parameters.push((name.to_owned(), value));
            }
            rest = rest.trim_start();
        }
        links.push(link);
        let Some(after) = rest.strip_prefix(',') else { break };
        rest = after.trim_start_matches([',', ' ', '\t']);
    }
    links
}

fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| matches!(c, ';' | ',' | '=' | '"') || c.is_whitespace()).unwrap_or(text.len());
    text.split_at(end)
}

/// A token or a quoted string, and what is behind it.
fn word(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| matches!(c, ';' | ',') || c.is_whitespace()).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(header: &str) -> Vec<String> {
        ice_servers(header).into_iter().flat_map(|server| server.urls).collect()
    }

    #[test]
    fn servers_are_read_with_their_credentials_from_one_header_or_many() {
        let header = r#"<stun:stun.example.net>; rel="ice-server", <turn:turn.example.net?transport=udp>;rel=ice-server ; username="us,er;" ; credential="my\"Pass\\word"; credential-type="password""#;
        let found = ice_servers(header);
        assert_eq!(found[0].urls, ["stun:stun.example.net"]);
        assert_eq!(found[1].urls, ["turn:turn.example.net?transport=udp"]);
        assert_eq!(found[1].username.as_deref(), Some("us,er;"));
        assert_eq!(found[1].credential.as_ref().map(Secret::reveal), Some(r#"my"Pass\word"#));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn other_relations_and_servers_without_credentials_are_passed_over() {
        assert_eq!(urls(r#"</a>; rel="next", <stun:b>; REL="x ice-server""#), ["stun:b"]);
        assert!(urls(r#"<turn:b>; rel="ice-server"; username="u""#).is_empty());
        assert!(
            urls(r#"<turn:b>; rel="ice-server"; username="u"; credential="c"; credential-type="oauth""#).is_empty()
        );
        assert!(urls(r#"<http://b>; rel="ice-server""#).is_empty());
    }

    #[test]
    fn damage_neither_panics_nor_loops() {
        for header in
            ["", "<", "<>", "<a", "<stun:a>;", "<stun:a>;;;=,", "<stun:a>; rel=\"", "<stun:a>; rel=\"ice-server\\"]
        {
            links(header);
        }
        let whole = r#"<stun:a>; rel="ice-server"; é="ü", <stun:b>; rel=ice-server"#;
        for end in (0..=whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            links(&whole[..end]);
        }
        assert_eq!(urls(whole), ["stun:a", "stun:b"]);
    }
}
