//! Instances that share a Redis, Debian's, as real clients see them.

use super::super::tests::{
    Client, PATIENCE, Running, options, start, the_place_of_who_was_lost_goes_to_whoever_comes,
    what_members_say_of_themselves_is_passed_on,
};
use super::super::{Authority, Limits, Options};
use super::*;
use crate::stop::StopReason;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::timeout;

/// A Redis on a socket in a folder of its own; `None` where there is none to start.
struct Redis {
    folder: tempfile::TempDir,
    child: Option<Child>,
    /// Where else it is, over TLS.
    tls_port: Option<u16>,
}

impl Redis {
    async fn start() -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            // With CI set that is a failure.
            assert!(std::env::var_os("CI").is_none(), "no redis-server");
            return None;
        }
        let mut redis = Self { folder: tempfile::tempdir().unwrap(), child: None, tls_port: None };
        redis.run().await;
        Some(redis)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn url(&self) -> String {
        format!("redis+unix://{}?pass=sesame", self.socket().display())
    }

    async fn run(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--requirepass", "sesame", "--unixsocket"]).arg(self.socket());
        command.arg("--dir").arg(self.folder.path()).stdout(Stdio::null());
        if let Some(port) = self.tls_port {
            command.args(["--tls-port", &port.to_string(), "--bind", "127.0.0.1", "--tls-auth-clients", "no"]);
            for (option, name) in [("cert", "cert.pem"), ("key", "key.pem"), ("ca-cert", "ca/ca.pem")] {
                command.arg(format!("--tls-{option}-file")).arg(self.folder.path().join(name));
            }
        }
        self.child = Some(command.spawn().unwrap());
        let there = async {
            while tokio::net::UnixStream::connect(self.socket()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, there).await.expect("Redis does not start");
    }

    /// As a power failure would.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            let _ = std::fs::remove_file(self.socket());
        }
    }

    fn options(&self) -> RedisOptions {
        RedisOptions { url: Secret::new(self.url()), ca_file: None }
    }

    async fn instance(&self, limits: Limits) -> Running {
        start(Options { redis: Some(self.options()), limits, ..options() }).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn resume(joined: &Value, seq: u64) -> Value {
    json!({ "type": "join", "version": 1, "resume": joined["token"], "seq": seq })
}

async fn back(server: &Running, joined: &Value, seq: u64) -> (Client, Value) {
    let mut client = Client::connect(server, joined["room"].as_str().unwrap()).await;
    client.say(resume(joined, seq)).await;
    let again = client.hear().await;
    (client, again)
}

async fn hears(client: &mut Client, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let heard = client.hear().await;
        assert_eq!(heard["data"]["n"], number, "{heard}");
    }
}

#[tokio::test]
async fn members_meet_across_instances_and_a_room_holds_no_more_than_it_may() {
    let Some(redis) = Redis::start().await else { return };
    let limits = Limits { max_rate: 1000, ..Limits::default() };
    let (one, two) = (redis.instance(limits.clone()).await, redis.instance(limits).await);
    let (mut first, joined) = Client::join(&one, "demo").await;
    let (mut second, told) = Client::join(&two, "demo").await;
    assert_eq!(told["peers"], json!([{ "id": joined["id"], "role": "any", "name": null }]));
    let came = first.hear().await;
    assert_eq!((&came["type"], &came["id"], &came["seq"]), (&json!("otherjoin"), &told["id"], &json!(1)));
    for server in [&one, &two] {
        let mut third = Client::connect(server, "demo").await;
        third.say(json!({ "type": "join", "version": 1 })).await;
        assert_eq!(third.hear().await, json!({ "type": "full", "room": "demo", "maxPeers": 2 }));
        assert_eq!(third.hear().await, json!({ "close": 4001 }));
    }
    let (mut stranger, _) = Client::join(&one, "other").await;
    for number in 0..200 {
        first.tell(number).await;
        second.tell(number).await;
    }
    first.say(json!({ "type": "message", "to": told["id"], "data": { "n": 200 } })).await;
    hears(&mut second, 0..=200).await;
    hears(&mut first, 0..200).await;
    first.say(json!({ "type": "message", "to": "nobody", "data": {} })).await;
    assert_eq!(first.hear().await["code"], "no-such-peer");
    second.say(json!({ "type": "leave" })).await;
    assert_eq!(second.hear().await["type"], "left");
    assert_eq!(second.hear().await, json!({ "close": 1000 }));
    let bye = first.hear().await;
    assert_eq!((&bye["type"], &bye["id"]), (&json!("bye"), &told["id"]));

    // Many at once, on both: exactly one comes in.
    let mut crowd = Vec::new();
    for at in 0..8 {
        let mut client = Client::connect(if at % 2 == 0 { &one } else { &two }, "demo").await;
        client.say(json!({ "type": "join", "version": 1 })).await;
        crowd.push(client);
    }
    let mut inside = 0;
    for client in &mut crowd {
        inside += usize::from(client.hear().await["type"] == "joined");
    }
    assert_eq!(inside, 1);
    one.stop.stop(StopReason::Interrupt);
    assert_eq!(stranger.hear().await, json!({ "close": 1001 }), "something of another room came");
}

#[tokio::test]
async fn a_full_room_has_a_place_for_a_program_that_was_started_anew() {
    let Some(redis) = Redis::start().await else { return };
    let server = redis.instance(Limits { hold: Duration::ZERO, ..Limits::default() }).await;
    the_place_of_who_was_lost_goes_to_whoever_comes(&server).await;
    let another = redis.instance(Limits { hold: Duration::ZERO, ..Limits::default() }).await;
    what_members_say_of_themselves_is_passed_on(&another, "other").await;
}

#[tokio::test]
async fn instances_are_restarted_one_by_one_and_their_members_stay_in_the_room() {
    let Some(redis) = Redis::start().await else { return };
    let (one, two) = (redis.instance(Limits::default()).await, redis.instance(Limits::default()).await);
    let (mut first, joined) = Client::join(&one, "demo").await;
    let (mut second, told) = Client::join(&two, "demo").await;
    assert_eq!(first.hear().await["type"], "otherjoin");
    second.say(json!({ "type": "message", "seq": 1, "data": { "n": 1 } })).await;
    hears(&mut first, [1]).await;

    one.stop.stop(StopReason::Interrupt);
    assert_eq!(first.hear().await, json!({ "close": 1001 }));
    timeout(PATIENCE, one.served).await.unwrap().unwrap();
    // It is nowhere now, and the room still holds its place.
    second.say(json!({ "type": "message", "seq": 2, "data": { "n": 2 } })).await;
    let one = redis.instance(Limits::default()).await;
    let (mut first, again) = back(&one, &joined, 2).await;
    assert_eq!((&again["id"], &again["resumed"]), (&joined["id"], &json!(true)), "{again}");
    hears(&mut first, [2]).await;
    let rejoined = second.hear().await;
    assert_eq!((&rejoined["type"], &rejoined["id"]), (&json!("rejoined"), &joined["id"]));

    let heard = rejoined["seq"].as_u64().unwrap();
    two.stop.stop(StopReason::Interrupt);
    assert_eq!(second.hear().await, json!({ "close": 1001 }));
    let (mut second, again) = back(&one, &told, heard).await;
    assert_eq!((&again["resumed"], &again["received"]), (&json!(true), &json!(2)), "{again}");
    assert_eq!(first.hear().await["type"], "rejoined");
    // What was sent twice is told once.
    for number in [2, 3] {
        second.say(json!({ "type": "message", "seq": number, "data": { "n": number } })).await;
    }
    hears(&mut first, [3]).await;
    // While its connection is up: the newer one counts, on whatever instance.
    let two = redis.instance(Limits::default()).await;
    let (mut third, again) = back(&two, &told, heard).await;
    assert_eq!(again["resumed"], true);
    assert_eq!(second.hear().await, json!({ "close": 4006 }));
    first.tell(4).await;
    hears(&mut third, [4]).await;
}

#[tokio::test]
async fn members_of_an_instance_that_died_are_gone_unless_they_come_back_to_another() {
    let Some(redis) = Redis::start().await else { return };
    let limits = Limits { resume: Duration::from_millis(1500), ..Limits::default() };
    let living = redis.instance(limits.clone()).await;
    let (mut watcher, _) = Client::join(&living, "demo").await;
    let (mut other, _) = Client::join(&living, "more").await;
    // An instance that dies: nobody keeps it, so it gives no sign of life after the first.
    let timing = Timing { alive: Duration::from_secs(2), ..Timing::default() };
    let dead = Backplane::open(&redis.options(), limits, timing).await.unwrap();
    dead.link.pretend_up();
    let mut answers = Vec::new();
    for room in ["demo", "more"] {
        let outbox = Outbox::new(10_000);
        let join = serde_json::from_value(json!({ "version": 1 })).unwrap();
        let seated = dead.join(room, join, &outbox, &[]).await.unwrap();
        let super::super::outbox::Item::Text(joined) = outbox.next().await else { panic!("no answer") };
        answers.push((seated, serde_json::from_str::<Value>(&joined).unwrap()));
    }
    assert_eq!(
        (watcher.hear().await["type"].clone(), other.hear().await["type"].clone()),
        ("otherjoin".into(), "otherjoin".into())
    );
    let (_back, again) = back(&living, &answers[1].1, 0).await;
    assert_eq!(again["resumed"], true, "{again}");
    assert_eq!(other.hear().await["type"], "rejoined");
    let bye = watcher.hear().await;
    assert_eq!((&bye["type"], &bye["id"]), (&json!("bye"), &json!(&*answers[0].0.seat.id)));
    // The one that came back is still there.
    other.tell(7).await;
    let (_third, joined) = Client::join(&living, "demo").await;
    assert_eq!(joined["peers"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn redis_dies_and_comes_back_empty_and_rooms_go_on_with_each_message_once() {
    let Some(mut redis) = Redis::start().await else { return };
    let limits = Limits { max_rate: 1000, ..Limits::default() };
    let (one, two) = (redis.instance(limits.clone()).await, redis.instance(limits).await);
    let (mut first, joined) = Client::join(&one, "demo").await;
    let (mut second, told) = Client::join(&two, "demo").await;
    assert_eq!(first.hear().await["type"], "otherjoin");
    let health = async |server: &Running| super::super::tests::get(server, "/healthz", "").await;
    assert_eq!(health(&one).await.2, "ok\n");
    for number in 0..300 {
        first.tell(number).await;
        second.tell(number).await;
        if number == 100 {
            // In the middle of what is on its way.
            redis.kill();
        }
    }
    let degraded = async {
        while health(&one).await.0 != 503 || health(&two).await.0 != 503 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, degraded).await.expect("nobody notices");
    assert!(health(&one).await.2.contains("degraded"), "{:?}", health(&one).await);
    redis.run().await;
    hears(&mut second, 0..300).await;
    hears(&mut first, 0..300).await;
    assert_eq!(health(&one).await.2, "ok\n");
    // Who is in the room is known again.
    let mut third = Client::connect(&one, "demo").await;
    third.say(json!({ "type": "join", "version": 1 })).await;
    assert_eq!(third.hear().await["type"], "full");
    second.say(json!({ "type": "message", "to": joined["id"], "data": { "n": 300 } })).await;
    hears(&mut first, [300]).await;
    drop(second);
    let (_second, again) = back(&one, &told, 300).await;
    assert_eq!((&again["id"], &again["resumed"]), (&told["id"], &json!(true)), "{again}");
}

#[tokio::test]
async fn who_is_not_restored_after_redis_died_is_gone() {
    let Some(mut redis) = Redis::start().await else { return };
    let (one, two) = (redis.instance(Limits::default()).await, redis.instance(Limits::default()).await);
    let (mut first, _) = Client::join(&one, "demo").await;
    let (mut second, told) = Client::join(&two, "demo").await;
    assert_eq!(first.hear().await["type"], "otherjoin");
    redis.kill();
    two.stop.stop(StopReason::Interrupt);
    assert_eq!(second.hear().await, json!({ "close": 1001 }));
    timeout(PATIENCE, two.served).await.unwrap().unwrap();
    redis.run().await;
    let bye = first.hear().await;
    assert_eq!((&bye["type"], &bye["id"]), (&json!("bye"), &told["id"]));
    let (_second, again) = back(&one, &told, 0).await;
    assert!(again["resumed"] == false && again["id"] != told["id"], "{again}");
    assert_eq!(first.hear().await["type"], "otherjoin");
}

#[tokio::test]
async fn a_redis_that_cannot_be_used_says_so_without_the_password() {
    let Some(redis) = Redis::start().await else { return };
    let socket = redis.socket().display().to_string();
    use crate::error::{Classify, ErrorKind};
    for (url, kind, said) in [
        (format!("redis+unix://{socket}?pass=hush"), ErrorKind::Auth, "cannot use Redis at "),
        (format!("redis+unix://{socket}"), ErrorKind::Auth, "cannot use Redis at "),
        ("redis://:hush@127.0.0.1:9/".to_owned(), ErrorKind::Unreachable, "cannot use Redis at 127.0.0.1:9"),
        ("redis://:hush@host.invalid/".to_owned(), ErrorKind::Dns, "cannot use Redis at host.invalid:6379"),
        ("http://:hush@127.0.0.1/".to_owned(), ErrorKind::Usage, "no URL of a Redis"),
        ("hush".to_owned(), ErrorKind::Usage, "no URL of a Redis"),
    ] {
        let options = RedisOptions { url: Secret::new(&url), ca_file: None };
        let failed = Backplane::open(&options, Limits::default(), Timing::default()).await;
        let error = failed.err().expect(&url);
        assert_eq!(error.kind(), kind, "{url}: {error}");
        let text = error.to_string();
        assert!(text.contains(said) && !text.contains("hush"), "{url}: {text}");
    }
}

#[tokio::test]
async fn over_tls_a_redis_is_used_that_an_authority_of_the_users_vouches_for_and_no_other() {
    use crate::error::{Classify, ErrorKind};
    let Some(mut redis) = Redis::start().await else { return };
    redis.kill();
    let [ours, others] = ["ca", "other"].map(|name| redis.folder.path().join(name));
    let (chain, key) = Authority::load_or_create(&ours).unwrap().issue(&["127.0.0.1".to_owned()]).unwrap();
    Authority::load_or_create(&others).unwrap();
    for (name, label, der) in [("cert", "CERTIFICATE", &*chain[0]), ("key", "PRIVATE KEY", key.secret_der())] {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"));
        std::fs::write(redis.folder.path().join(name).with_extension("pem"), pem).unwrap();
    }
    // It is free, and nobody else takes it in this moment.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    redis.tls_port = Some(free);
    redis.run().await;

    let at = |scheme: &str, host: &str, ca: Option<&PathBuf>| RedisOptions {
        url: Secret::new(format!("{scheme}://:sesame@{host}:{free}")),
        ca_file: ca.map(|folder| if folder.is_dir() { folder.join("ca.pem") } else { folder.clone() }),
    };
    let trusted = at("rediss", "127.0.0.1", Some(&ours));
    let one = start(Options { redis: Some(trusted.clone()), ..options() }).await;
    let two = start(Options { redis: Some(trusted), ..options() }).await;
    let (mut first, _) = Client::join(&one, "demo").await;
    let (mut second, _) = Client::join(&two, "demo").await;
    assert_eq!(first.hear().await["type"], "otherjoin");
    second.tell(1).await;
    hears(&mut first, [1]).await;

    let nothing = PathBuf::from("/dev/null");
    for (options, kind, said) in [
        (at("rediss", "127.0.0.1", None), ErrorKind::Dtls, "UnknownIssuer"),
        (at("rediss", "127.0.0.1", Some(&others)), ErrorKind::Dtls, "UnknownIssuer"),
        (at("rediss", "localhost", Some(&ours)), ErrorKind::Dtls, "not valid for name"),
        (at("rediss", "127.0.0.1", Some(&nothing)), ErrorKind::Usage, "/dev/null"),
        (at("rediss", "127.0.0.1", Some(&nothing.join("none"))), ErrorKind::Usage, "/dev/null/none"),
        (at("redis", "127.0.0.1", Some(&ours)), ErrorKind::Usage, "rediss://"),
    ] {
        let failed = Backplane::open(&options, Limits::default(), Timing::default()).await;
        let error = failed.err().expect("it is trusted");
        assert_eq!(error.kind(), kind, "{options:?}: {error}");
        assert!(error.to_string().contains(said) && !error.to_string().contains("sesame"), "{options:?}: {error}");
        assert_eq!(error.hint().is_some_and(|hint| hint.contains("--redis-ca-file")), kind == ErrorKind::Dtls);
    }
}
