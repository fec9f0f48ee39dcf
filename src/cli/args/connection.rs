//! How a connection is found: ICE servers and their credentials.

use crate::cli::value;
use clap::Args;
use rtckit::error::{Error, ErrorKind};
use rtckit::ice_server::{IceServer, Secret};
use rtckit::ops::call::{
    Config, Family, IceTransportPolicy, Identity, Interfaces, MulticastDns, NetSim, PortRange, check_server,
};
use rtckit::ops::turn_probe::Rest;
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Servers, and how to log in to them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub struct ServerArgs {
    /// A STUN or TURN server: stun:HOST[:PORT], turn:HOST[:PORT][?transport=tcp], turns:HOST[:PORT] (TLS),
    /// turn:USER:PASSWORD@HOST; may be repeated
    #[arg(long, value_name = "URL", action = clap::ArgAction::Append)]
    pub ice_server: Vec<String>,
    /// The user name for the TURN servers of --ice-server
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// A file with the secret of --username
    #[arg(long, value_name = "FILE")]
    pub credential_file: Option<PathBuf>,
    /// The secret of --username; better in RTCKIT_CREDENTIAL or --credential-file, where ps does not show it
    #[arg(long, value_name = "SECRET", conflicts_with = "credential_file", value_parser = secret)]
    pub credential: Option<Secret>,
    /// The iceServers array of JavaScript, as JSON or in a file
    #[arg(long, value_name = "JSON|FILE", value_parser = secret)]
    pub ice_servers: Option<Secret>,
}

/// Credentials for a limited time.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub struct RestArgs {
    /// Make credentials for a limited time from the secret in this file, which the server shares (TURN REST API); --username is
    /// the name behind the time of expiry
    #[arg(long, value_name = "FILE", conflicts_with_all = ["credential", "credential_file"])]
    pub rest_secret_file: Option<PathBuf>,
    /// How long the credentials of --rest-secret-file hold
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "1h", requires = "rest_secret_file")]
    pub rest_lifetime: Duration,
}

impl RestArgs {
    /// What these ask for, with `name` behind the time of expiry.
    pub fn rest(&self, name: Option<&String>) -> Result<Option<Rest>, Error> {
        let secret = self.rest_secret_file.as_ref().map(|path| secret_file(path, "--rest-secret-file")).transpose()?;
        Ok(secret.map(|secret| Rest { secret, name: name.cloned(), lifetime: self.rest_lifetime }))
    }
}

/// `--ice-server` and its relatives.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    #[command(flatten)]
    pub servers: ServerArgs,
    /// Which candidates are used: all, or those of TURN servers alone
    #[arg(long, value_name = "POLICY", default_value = "all", value_parser = ["all", "relay"])]
    pub ice_transport_policy: String,
    /// Listen on this interface, or on this address of ours, alone
    #[arg(long, value_name = "NAME|ADDRESS")]
    pub interface: Option<String>,
    /// Use IPv4 alone
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Use IPv6 alone
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// Listen on ports of this range alone
    #[arg(long, value_name = "FIRST-LAST")]
    pub port_range: Option<PortRange>,
    /// An address at which a NAT passes what comes to a port on to the same port here; may be repeated
    #[arg(long, value_name = "ADDRESS", action = clap::ArgAction::Append)]
    pub public_ip: Vec<IpAddr>,
    /// Hide our addresses from the peer behind names that only our own network can resolve (mDNS), as browsers do; off: do not
    /// resolve the peer's either
    #[arg(long, value_name = "on|off", value_parser = ["on", "off"], num_args = 0..=1, require_equals = true, default_missing_value = "on", conflicts_with = "ipv6")]
    pub mdns: Option<String>,
    /// Offer candidates for TCP as well (RFC 6544), for networks that let no UDP through
    #[arg(long)]
    pub ice_tcp: bool,
    /// Make the network worse on purpose, both ways: loss, delay and its jitter, a narrow link and its queue (what goes by
    /// UDP alone); after a ';' and a time it changes once the connection is that old, as in
    /// 'rate=2M,delay=50ms;10s:rate=500k'
    #[arg(long, value_name = "loss=2%,delay=80ms±10ms,rate=1500k,queue=500ms,seed=7")]
    pub net_sim: Option<NetSim>,
    /// Use this certificate (PEM, with its chain) for DTLS instead of a new one that signs itself
    #[arg(long, value_name = "FILE", requires = "private_key")]
    pub certificate: Option<PathBuf>,
    /// The private key of --certificate, in PKCS #8
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub private_key: Option<PathBuf>,
}

impl ConnectionArgs {
    /// What these ask for.
    pub fn options(&self) -> Result<Config, Error> {
        let relay = self.ice_transport_policy == "relay";
        Ok(Config {
            ice_servers: self.ice_servers()?,
            ice_transport_policy: if relay { IceTransportPolicy::Relay } else { IceTransportPolicy::All },
            interfaces: self.interface.clone().map_or(Interfaces::All, Interfaces::Named),
            family: family(self.ipv4, self.ipv6),
            ports: self.port_range,
            public_addresses: self.public_ip.clone(),
            multicast_dns: match self.mdns.as_deref() {
                Some("on") => MulticastDns::Hide,
                Some(_) => MulticastDns::Off,
                None => MulticastDns::Resolve,
            },
            ice_tcp: self.ice_tcp,
            net_sim: self.net_sim.clone(),
            identity: self.identity()?,
            ..Config::default()
        })
    }

    fn identity(&self) -> Result<Option<Identity>, Error> {
        let (Some(certificate), Some(key)) = (&self.certificate, &self.private_key) else { return Ok(None) };
        let key = Secret::new(read(key, "--private-key")?);
        let identity = Identity::from_pem(&read(certificate, "--certificate")?, key.reveal());
        identity.map(Some).map_err(|error| {
            let flag = if error.is_of_key() { "--private-key" } else { "--certificate" };
            Error::new(ErrorKind::InvalidInput, "InvalidAccessError", format!("{flag}: {error}"))
        })
    }

    /// The servers, each of which a call can use.
    fn ice_servers(&self) -> Result<Vec<IceServer>, Error> {
        let servers = self.servers.all(&[])?;
        for server in &servers {
            check_server(server)?;
        }
        match servers.iter().find(|server| server.lacks_credentials()) {
            Some(server) => Err(Error::new(
                ErrorKind::Usage,
                "InvalidAccessError",
                format!("{} needs a user name and a credential", server.urls.join(", ")),
            )
            .with_hint("give --username and --credential-file, or RTCKIT_CREDENTIAL")),
            None => Ok(servers),
        }
    }
}

impl ServerArgs {
    /// The servers of `urls`, `--ice-server` and `--ice-servers`, in this order.
    pub fn all(&self, urls: &[String]) -> Result<Vec<IceServer>, Error> {
        let credential = match (&self.credential_file, &self.credential) {
            (Some(path), _) => Some(secret_file(path, "--credential-file")?),
            (None, credential) => credential.clone(),
        };
        let mut servers = Vec::new();
        for url in urls.iter().chain(&self.ice_server) {
            let mut server = IceServer::parse(url)?;
            if server.lacks_credentials() {
                server.username = server.username.or_else(|| self.username.clone());
                server.credential = server.credential.or_else(|| credential.clone());
            }
            servers.push(server);
        }
        if let Some(given) = &self.ice_servers {
            servers.extend(array(given.reveal())?);
        }
        Ok(servers)
    }
}

/// What `-4` and `-6` ask for.
pub const fn family(ipv4: bool, ipv6: bool) -> Family {
    match (ipv4, ipv6) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        _ => Family::Any,
    }
}

/// The secret in a file, without the end of its line.
pub fn secret_file(path: &Path, flag: &str) -> Result<Secret, Error> {
    Ok(Secret::new(read(path, flag)?.trim_end_matches(['\r', '\n'])))
}

/// A value that is a secret, as given.
pub fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

fn read(path: &Path, flag: &str) -> Result<String, Error> {
    super::read_text(path).map_err(|error| {
        Error::new(ErrorKind::Usage, "usage", format!("{flag}: cannot read {}: {error}", path.display()))
    })
}

/// W3C `RTCConfiguration.iceServers`, or an object that has it.
fn array(given: &str) -> Result<Vec<IceServer>, Error> {
    let text = match given.trim_start().starts_with(['[', '{']) {
        true => given.to_owned(),
        false => read(&PathBuf::from(given), "--ice-servers")?,
    };
    let fail = |why: &str| Error::new(ErrorKind::InvalidInput, "DataError", format!("--ice-servers: {why}"));
    let value: Value = serde_json::from_str(&text).map_err(|error| fail(&format!("not JSON: {error}")))?;
    let value = match value {
        Value::Object(mut object) if object.contains_key("iceServers") => {
            object.remove("iceServers").unwrap_or_default()
        }
        other => other,
    };
    let Value::Array(entries) = value else { return Err(fail("not an array of servers")) };
    let mut servers = Vec::new();
    for entry in &entries {
        let entry = entry.as_object().ok_or_else(|| fail("an entry is not an object"))?;
        let urls: Vec<&str> = match entry.get("urls").or_else(|| entry.get("url")) {
            Some(Value::String(url)) => vec![url],
            Some(Value::Array(urls)) => urls
                .iter()
                .map(Value::as_str)
                .collect::<Option<_>>()
                .ok_or_else(|| fail("'urls' holds something that is no string"))?,
            Some(_) => return Err(fail("'urls' is neither a string nor a list of strings")),
            None => return Err(fail("an entry has no 'urls'")),
        };
        let member = |name: &str| text_member(entry, name).map_err(|why| fail(&why));
        for url in urls {
            let mut server = IceServer::parse(url)?;
            server.username = server.username.or(member("username")?);
            server.credential = server.credential.or(member("credential")?.map(Secret::new));
            servers.push(server);
        }
    }
    Ok(servers)
}

fn text_member(entry: &Map<String, Value>, member: &str) -> Result<Option<String>, String> {
    match entry.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("'{member}' is no string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        connection: ConnectionArgs,
    }

    fn servers(args: &[&str]) -> Result<Vec<IceServer>, Error> {
        Line::parse_from([&["rtckit"], args].concat()).connection.ice_servers()
    }

    #[test]
    fn credentials_are_given_to_turn_servers_that_have_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\n").unwrap();
        let path = file.path().to_str().unwrap();
        let found = servers(&[
            "--ice-server=stun:a.example",
            "--ice-server=turn:b.example",
            "--ice-server=turn:me:own@c.example",
            "--username=you",
            "--credential-file",
            path,
        ])
        .unwrap();
        let login = |server: &IceServer| {
            (server.username.clone(), server.credential.as_ref().map(|secret| secret.reveal().to_owned()))
        };
        assert_eq!(login(&found[0]), (None, None));
        assert_eq!(login(&found[1]), (Some("you".into()), Some("hush".into())));
        assert_eq!(login(&found[2]), (Some("me".into()), Some("own".into())));
    }

    #[test]
    fn the_array_of_javascript_is_read_with_one_url_or_many() {
        let json = r#"[{"urls":"stun:a.example"},{"urls":["turn:b.example","turn:b.example?transport=udp"],"username":"u","credential":"p"}]"#;
        let found = servers(&["--ice-servers", json]).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[2].username.as_deref(), Some("u"));
        assert_eq!(servers(&["--ice-servers", &format!("{{\"iceServers\":{json}}}")]).unwrap(), found);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_reason_and_without_the_secret() {
        for (args, said) in [
            (["--ice-server=turn:a.example", "--username=u"], "needs a user name and a credential"),
            (["--ice-servers=[{}]", "--username=u"], "no 'urls'"),
            (["--ice-servers=[7]", "--username=u"], "not an object"),
            (["--ice-servers=/nowhere", "--username=u"], "/nowhere"),
            (["--ice-server=http://a", "--username=u"], "http"),
            (["--ice-server=turn:u:hush@a:x", "--username=u"], "turn:a:x"),
        ] {
            let error = servers(&args).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("hush"), "{error}");
        }
    }
}
