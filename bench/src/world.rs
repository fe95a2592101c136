//! The people and channels of a run, made through the API itself.
//!
//! The same requests go to the rules in this process and, signed, to a server, so that both hold
//! the same world: one channel with all senders in it, and many channels of one sender each.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Bytes of a message.
const CONTENT_BYTES: usize = 200;
/// Items of a page.
const PAGE_ROWS: usize = 50;

/// A request before it is signed.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) bearer: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Returns a request for a path, behind which a query may stand.
    pub(crate) fn new(method: &'static str, path: impl Into<String>, body: &Value) -> Request {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let mut path = path.into();
        let query = path.find('?').map(|at| path.split_off(at).split_off(1));
        Request { method, path, query, bearer: None, body }
    }

    fn get(path: impl Into<String>, query: impl Into<String>) -> Request {
        let query = Some(query.into()).filter(|query| !query.is_empty());
        Request { query, ..Request::new("GET", path, &Value::Null) }
    }

    pub(crate) fn of(mut self, bearer: &str) -> Request {
        self.bearer = Some(bearer.to_owned());
        self
    }
}

/// Answers requests.
pub(crate) trait Api {
    async fn call(&mut self, request: &Request) -> Result<Value>;
}

/// A sender and the channel to which he sends.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) channel: String,
    pub(crate) sender: String,
}

/// Who there is.
pub(crate) struct World {
    /// Everybody sits in one channel.
    pub(crate) together: Vec<Seat>,
    /// Each channel has one sender.
    pub(crate) apart: Vec<Seat>,
    /// Users of the app instance who are in no channel.
    pub(crate) guests: Vec<String>,
}

/// How many there are.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) senders: usize,
    pub(crate) channels: usize,
    pub(crate) guests: usize,
}

impl World {
    /// Makes the world.
    pub(crate) async fn make(api: &mut impl Api, size: Size) -> Result<World> {
        let app_instance = json!({ "Name": "bench", "ClientRequestToken": token() });
        let made = api.call(&Request::new("POST", "/app-instances", &app_instance)).await?;
        let app_instance = arn(&made, "AppInstanceArn")?;
        let mut users = Vec::new();
        for number in 0..size.senders + size.guests {
            let body = json!({
                "AppInstanceArn": app_instance, "AppInstanceUserId": format!("user-{number:05}"),
                "Name": format!("User {number:05}"), "ClientRequestToken": token(),
            });
            let made = api.call(&Request::new("POST", "/app-instance-users", &body)).await?;
            users.push(arn(&made, "AppInstanceUserArn")?);
        }
        let guests = users.split_off(size.senders);
        let lobby = channel(api, &app_instance, &users[0]).await?;
        for user in &users[1..] {
            api.call(&join(&lobby, user, &users[0])).await?;
        }
        let mut apart = Vec::new();
        for number in 0..size.channels {
            let sender = users[number % users.len()].clone();
            apart.push(Seat { channel: channel(api, &app_instance, &sender).await?, sender });
        }
        let seat = |sender| Seat { channel: lobby.clone(), sender };
        Ok(World { together: users.into_iter().map(seat).collect(), apart, guests })
    }
}

/// Makes a channel.
pub(crate) async fn channel(
    api: &mut impl Api,
    app_instance: &str,
    creator: &str,
) -> Result<String> {
    let body = json!({
        "AppInstanceArn": app_instance, "Name": "A channel of the bench",
        "Mode": "RESTRICTED", "Privacy": "PRIVATE", "ClientRequestToken": token(),
    });
    arn(&api.call(&Request::new("POST", "/channels", &body).of(creator)).await?, "ChannelArn")
}

/// Returns the request by which `by` adds a member.
pub(crate) fn join(channel: &str, member: &str, by: &str) -> Request {
    let path = format!("/channels/{}/memberships", label(channel));
    Request::new("POST", path, &json!({ "MemberArn": member, "Type": "DEFAULT" })).of(by)
}

/// Returns the request by which `by` removes a member.
pub(crate) fn leave(channel: &str, member: &str, by: &str) -> Request {
    let path = format!("/channels/{}/memberships/{}", label(channel), label(member));
    Request::new("DELETE", path, &Value::Null).of(by)
}

/// Returns a new message of a seat.
pub(crate) fn send(seat: &Seat) -> Request {
    message(seat, &content())
}

/// Returns a new message of a seat with this content.
pub(crate) fn message(seat: &Seat, content: &str) -> Request {
    let body = json!({
        "Content": content, "Type": "STANDARD", "Persistence": "PERSISTENT",
        "ClientRequestToken": token(),
    });
    let path = format!("/channels/{}/messages", label(&seat.channel));
    Request::new("POST", path, &body).of(&seat.sender)
}

/// Returns what is said in a message.
pub(crate) fn content() -> String {
    let words = "The bell rings once an hour, and twice when somebody comes up the stairs. ";
    words.chars().cycle().take(CONTENT_BYTES).collect()
}

/// Returns the request for a channel.
pub(crate) fn describe(seat: &Seat) -> Request {
    Request::get(format!("/channels/{}", label(&seat.channel)), "").of(&seat.sender)
}

/// Returns the request for the newest messages of a channel up to a time, or behind a token.
pub(crate) fn list(seat: &Seat, not_after: Option<&str>, next_token: Option<&str>) -> Request {
    let given = [("not-after", not_after), ("next-token", next_token)];
    let given =
        given.iter().filter_map(|(name, value)| Some(format!("&{name}={}", label((*value)?))));
    let query = format!("max-results={PAGE_ROWS}{}", given.collect::<String>());
    Request::get(format!("/channels/{}/messages", label(&seat.channel)), query).of(&seat.sender)
}

/// Returns the request of a user for his channels.
pub(crate) fn memberships(user: &str) -> Request {
    let user_arn = label(user);
    let query = format!(
        "app-instance-user-arn={user_arn}&max-results={PAGE_ROWS}&scope=app-instance-user-memberships"
    );
    Request::get("/channels", query).of(user)
}

/// Encodes an ARN as the SDKs do in a path.
pub(crate) fn label(arn: &str) -> String {
    arn.replace(':', "%3A").replace('/', "%2F").replace('+', "%2B").replace('=', "%3D")
}

/// Returns the ARN in an answer.
pub(crate) fn arn(answer: &Value, member: &str) -> Result<String> {
    Ok(answer[member].as_str().with_context(|| format!("no {member} in the answer"))?.to_owned())
}

/// Returns a request token that this run has not used.
pub(crate) fn token() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
