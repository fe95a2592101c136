//! A small world for the tests of the rules: the memory engine, a clock that is set by hand, and
//! requests that go the whole way from path and JSON to the answer.

mod counting;
pub(crate) mod random;
mod roles;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use store::{Audience, Committed, Engine, MockClock, SeededEntropy, Table};
use tokio::sync::mpsc;

use crate::{
    Answer, Call, Chat, Effect, Event, Options, Place, Quotas, RESUME_WINDOW_MS, Scope, Step, Told,
};

pub(crate) use counting::{Calls, Counting};

/// 2021-07-01T00:00:00Z.
pub(crate) const START_MS: u64 = 1_625_097_600_000;
const GROUPS_MAX: usize = 10_000;

pub(crate) type Events = mpsc::Receiver<Vec<Committed>>;

/// The rules over an empty memory engine, with one app instance.
pub(crate) struct World {
    pub(crate) chat: Chat,
    pub(crate) clock: Arc<MockClock>,
    pub(crate) app_instance: String,
    /// What the rules ask of the store, and how it may fail.
    pub(crate) engine: Arc<Counting>,
    events: Events,
    tokens: u32,
}

/// An event as a test looks at it.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) audience: Audience,
    pub(crate) event_type: String,
    /// Why it happened, where that is told.
    pub(crate) reason: Option<String>,
    pub(crate) payload: Value,
    pub(crate) effect: Option<Effect>,
}

/// The status and JSON of an answer, or the status and exception of a refusal.
pub(crate) type Outcome = Result<Value, (u16, &'static str)>;

pub(crate) const FORBIDDEN: Outcome = Err((403, "ForbiddenException"));
pub(crate) const BAD_REQUEST: Outcome = Err((400, "BadRequestException"));
pub(crate) const CONFLICT: Outcome = Err((409, "ConflictException"));
pub(crate) const NOT_FOUND: Outcome = Err((404, "NotFoundException"));
pub(crate) const UNAUTHORIZED: Outcome = Err((401, "UnauthorizedClientException"));
pub(crate) const LIMIT: Outcome = Err((400, "ResourceLimitExceededException"));

/// Encodes an ARN as SDKs do in a path.
pub(crate) fn label(arn: &str) -> String {
    arn.replace(':', "%3A").replace('/', "%2F").replace('@', "%40")
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_quotas(Quotas::default()).await
    }

    pub(crate) async fn with_quotas(quotas: Quotas) -> Self {
        Self::on(store::memory::open, quotas).await
    }

    /// Returns a world with an app instance over the store that `open_engine` opens.
    pub(crate) async fn on(
        open_engine: impl FnOnce(store::Options) -> Arc<dyn Engine>,
        quotas: Quotas,
    ) -> Self {
        let mut world = Self::over(quotas, open_engine).await;
        world.app_instance = world.create_app_instance("app").await;
        world
    }

    /// Opens the rules over the store that `open_engine` opens; there is no app instance of its own.
    pub(crate) async fn over(
        quotas: Quotas,
        open_engine: impl FnOnce(store::Options) -> Arc<dyn Engine>,
    ) -> Self {
        let clock = Arc::new(MockClock::new(START_MS));
        let (options, events) = options(&clock, 1);
        Self::of(open_engine(options), (clock, events), 2, quotas).await
    }

    /// Puts the rules upon an engine that was opened with [`options`].
    pub(crate) async fn of(
        engine: Arc<dyn Engine>,
        (clock, events): (Arc<MockClock>, Events),
        seed: u64,
        quotas: Quotas,
    ) -> Self {
        let engine = Arc::new(Counting::new(engine));
        let chat = open(engine.clone(), &clock, seed, quotas).await;
        Self { chat, clock, engine, app_instance: String::new(), events, tokens: 0 }
    }

    /// Ends everything but the rows, and opens it again.
    pub(crate) async fn reopen(
        &mut self,
        open_engine: impl FnOnce(store::Options) -> Arc<dyn Engine>,
    ) {
        let quotas = self.chat.0.place.quotas.clone();
        self.engine.close().await;
        let (options, events) = options(&self.clock, 4);
        self.events = events;
        self.engine = Arc::new(Counting::new(open_engine(options)));
        self.chat = open(self.engine.clone(), &self.clock, 5, quotas).await;
    }

    /// Sends a request that is signed with the root key and returns what the front is given for it.
    pub(crate) async fn ask(
        &self,
        method: &str,
        target: &str,
        bearer: &str,
        body: Value,
    ) -> Result<Answer, wire::Error> {
        self.ask_as(Scope::Root, method, target, bearer, body).await
    }

    async fn ask_as(
        &self,
        scope: Scope,
        method: &str,
        target: &str,
        bearer: &str,
        body: Value,
    ) -> Result<Answer, wire::Error> {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let route = wire::route::route(method, path, query).expect("the test names a known route");
        let call = Call {
            route,
            raw_query: query.map(str::to_owned),
            body: Bytes::from(if body.is_null() { String::new() } else { body.to_string() }),
            scope,
            bearer: (!bearer.is_empty()).then(|| bearer.to_owned()),
            endpoint: "localhost:8080".to_owned(),
            request_id: "test".to_owned(),
        };
        self.chat.call(call).await
    }

    /// Sends a request and returns its answer.
    pub(crate) async fn call(
        &self,
        method: &str,
        target: &str,
        bearer: &str,
        body: Value,
    ) -> Outcome {
        self.call_as(Scope::Root, method, target, bearer, body).await
    }

    /// Sends a request that is signed with a key of `scope`.
    pub(crate) async fn call_as(
        &self,
        scope: Scope,
        method: &str,
        target: &str,
        bearer: &str,
        body: Value,
    ) -> Outcome {
        let answer = self.ask_as(scope, method, target, bearer, body).await;
        let answer = answer.map_err(|error| (error.code().status(), error.code().exception()))?;
        Ok(match answer.body.as_slice() {
            [] => Value::Null,
            body => serde_json::from_slice(body).expect("answers are JSON"),
        })
    }

    pub(crate) fn token(&mut self) -> String {
        self.tokens += 1;
        format!("token-{}", self.tokens)
    }

    pub(crate) async fn create_app_instance(&mut self, name: &str) -> String {
        let body = json!({ "Name": name, "ClientRequestToken": self.token() });
        let answer = self.call("POST", "/app-instances", "", body).await.expect("is created");
        text(&answer["AppInstanceArn"])
    }

    pub(crate) async fn try_create_user(&mut self, id: &str) -> Outcome {
        let body = json!({
            "AppInstanceArn": self.app_instance, "AppInstanceUserId": id, "Name": id,
            "ClientRequestToken": self.token(),
        });
        self.call("POST", "/app-instance-users", "", body).await
    }

    pub(crate) async fn create_user(&mut self, id: &str) -> String {
        text(&self.try_create_user(id).await.expect("is created")["AppInstanceUserArn"])
    }

    /// Creates a bot; `more` replaces or adds members of the request.
    pub(crate) async fn try_create_bot(&mut self, more: Value) -> Outcome {
        let mut body = json!({
            "AppInstanceArn": self.app_instance, "ClientRequestToken": self.token(),
            "Configuration": { "Lex": lex(json!({})) },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.call("POST", "/app-instance-bots", "", body).await
    }

    pub(crate) async fn create_bot(&mut self, name: &str) -> String {
        let answer = self.try_create_bot(json!({ "Name": name })).await.expect("is created");
        text(&answer["AppInstanceBotArn"])
    }

    /// Registers a device of that token.
    pub(crate) async fn register_device(&mut self, user: &str, device: &str) -> Outcome {
        let body = json!({
            "Type": "GCM", "ClientRequestToken": self.token(),
            "ResourceArn": "arn:aws:mobiletargeting:us-east-1:111122223333:apps/a1b2",
            "EndpointAttributes": { "DeviceToken": device },
        });
        let target = format!("/app-instance-users/{}/endpoints", label(user));
        self.call("POST", &target, "", body).await
    }

    pub(crate) async fn create_admin(&self, user: &str) -> Outcome {
        let target = format!("/app-instances/{}/admins", label(&self.app_instance));
        self.call("POST", &target, "", json!({ "AppInstanceAdminArn": user })).await
    }

    /// Creates a channel; `more` replaces or adds members of the request.
    pub(crate) async fn try_create_channel(&mut self, bearer: &str, more: Value) -> Outcome {
        let mut body = json!({
            "AppInstanceArn": self.app_instance, "Name": "channel",
            "ClientRequestToken": self.token(),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.call("POST", "/channels", bearer, body).await
    }

    pub(crate) async fn create_channel(&mut self, bearer: &str, more: Value) -> String {
        text(&self.try_create_channel(bearer, more).await.expect("is created")["ChannelArn"])
    }

    pub(crate) async fn join(&self, channel: &str, bearer: &str, member: &str) -> Outcome {
        self.join_as(channel, bearer, member, "DEFAULT").await
    }

    pub(crate) async fn join_as(
        &self,
        channel: &str,
        bearer: &str,
        member: &str,
        r#type: &str,
    ) -> Outcome {
        let target = format!("/channels/{}/memberships", label(channel));
        self.call("POST", &target, bearer, json!({ "MemberArn": member, "Type": r#type })).await
    }

    pub(crate) async fn leave(&self, channel: &str, bearer: &str, member: &str) -> Outcome {
        let target = format!("/channels/{}/memberships/{}", label(channel), label(member));
        self.call("DELETE", &target, bearer, Value::Null).await
    }

    /// Sends a message; `more` replaces or adds members of the request.
    pub(crate) async fn send_with(&mut self, channel: &str, bearer: &str, more: Value) -> Outcome {
        let mut body = json!({
            "Content": "hello", "Type": "STANDARD", "Persistence": "PERSISTENT",
            "ClientRequestToken": self.token(),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let target = format!("/channels/{}/messages", label(channel));
        self.call("POST", &target, bearer, body).await
    }

    pub(crate) async fn send(&mut self, channel: &str, bearer: &str, content: &str) -> Outcome {
        self.send_with(channel, bearer, json!({ "Content": content })).await
    }

    /// Creates a channel flow; `fallback` is the FallbackAction of its one processor.
    pub(crate) async fn create_flow(&mut self, fallback: &str) -> String {
        let body = json!({
            "AppInstanceArn": self.app_instance, "Name": "flow",
            "Processors": [processor(fallback)], "ClientRequestToken": self.token(),
        });
        let answer = self.call("POST", "/channel-flows", "", body).await.expect("is created");
        text(&answer["ChannelFlowArn"])
    }

    pub(crate) async fn associate(&self, channel: &str, bearer: &str, flow: &str) -> Outcome {
        let target = format!("/channels/{}/channel-flow", label(channel));
        self.call("PUT", &target, bearer, json!({ "ChannelFlowArn": flow })).await
    }

    pub(crate) async fn get(&self, target: &str, bearer: &str) -> Outcome {
        self.call("GET", target, bearer, Value::Null).await
    }

    pub(crate) async fn delete(&self, target: &str, bearer: &str) -> Outcome {
        self.call("DELETE", target, bearer, Value::Null).await
    }

    pub(crate) async fn messages(&self, channel: &str, bearer: &str, query: &str) -> Outcome {
        self.get(&format!("/channels/{}/messages{query}", label(channel)), bearer).await
    }

    /// Returns the contents of the newest messages, newest first.
    pub(crate) async fn contents(&self, channel: &str, bearer: &str) -> Vec<String> {
        let answer = self.messages(channel, bearer, "").await.expect("is readable");
        array(&answer["ChannelMessages"]).iter().map(|message| text(&message["Content"])).collect()
    }

    /// Returns the names of the members that a list shows.
    pub(crate) async fn members(&self, channel: &str, bearer: &str, query: &str) -> Vec<String> {
        let target = format!("/channels/{}/memberships{query}", label(channel));
        let answer = self.get(&target, bearer).await.expect("is readable");
        let members = array(&answer["ChannelMemberships"]);
        members.iter().map(|membership| text(&membership["Member"]["Name"])).collect()
    }

    /// Follows the tokens of a list to its end and returns the items of `member`.
    pub(crate) async fn pages(&self, target: &str, bearer: &str, member: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let join = if target.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{target}{join}next-token={next}"), bearer).await;
            let page = page.expect("the page is answered");
            items.extend(array(&page[member]).clone());
            match page["NextToken"].as_str() {
                Some(token) => token.clone_into(&mut next),
                None => return items,
            }
        }
    }

    /// Returns another node's rules over the same store.
    pub(crate) async fn other_node(&self) -> Chat {
        open(self.chat.0.store.engine().clone(), &self.clock, 3, Quotas::default()).await
    }

    /// Runs the jobs to their end and returns the count of their steps; the store is sound before
    /// the first, between any two and after the last of them.
    pub(crate) async fn run_jobs(&self) -> usize {
        let mut step_count = 0;
        loop {
            assert_eq!(self.chat.check().await.expect("the store answers").findings, []);
            match self.chat.run_job_step().await.expect("the step is done") {
                Step::Worked => step_count += 1,
                Step::Overtaken => panic!("nobody else is there"),
                Step::Idle => return step_count,
            }
        }
    }

    /// Returns the count of rows in a table.
    pub(crate) async fn row_count(&self, table: &'static Table) -> usize {
        let all = store::Range::prefix(store::Key::new(table));
        let view = self.chat.0.store.view();
        let rows = view.keys(&all, usize::MAX, store::Direction::Forward).await;
        rows.expect("the store answers").len()
    }

    /// Returns what was told since the last call.
    pub(crate) fn heard(&mut self) -> Vec<Heard> {
        self.told().into_iter().map(hear).collect()
    }

    /// Returns what was told since the last call, as it goes to sockets.
    pub(crate) fn told(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Ok(group) = self.events.try_recv() {
            for Committed { home, stamp, events, .. } in group {
                for (event, index) in events.iter().zip(0..) {
                    let body: Option<&Event> = event.body.downcast_ref();
                    let body = body.expect("only events of chat are in the sink");
                    let place = Place { home, stamp, index };
                    told.push(Told {
                        place,
                        audience: event.audience.clone(),
                        effect: body.effect(),
                        frame: self.chat.frame(body, place),
                    });
                }
            }
        }
        told
    }
}

/// Returns what an engine is opened with, and where its events come out.
pub(crate) fn options(clock: &Arc<MockClock>, seed: u64) -> (store::Options, Events) {
    let (sink, events) = mpsc::channel(GROUPS_MAX);
    let options = store::Options {
        tables: crate::tables(),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(seed)),
        sink: Some(sink),
    };
    (options, events)
}

async fn open(engine: Arc<dyn Engine>, clock: &Arc<MockClock>, seed: u64, quotas: Quotas) -> Chat {
    let options = Options {
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(seed)),
        quotas,
        resume_window_ms: RESUME_WINDOW_MS,
    };
    Chat::open(engine, options).await.expect("the store opens")
}

fn hear(told: Told) -> Heard {
    let frame: Value = told
        .frame
        .map_or(Value::Null, |frame| serde_json::from_slice(&frame).expect("frames are JSON"));
    let payload = frame["Payload"].as_str().unwrap_or("null");
    let reason = frame["Headers"]["x-amz-chime-event-reason"].as_str();
    Heard {
        audience: told.audience,
        event_type: frame["Headers"]["x-amz-chime-event-type"].as_str().unwrap_or("").to_owned(),
        reason: reason.map(str::to_owned),
        payload: serde_json::from_str(payload).expect("payloads are JSON"),
        effect: told.effect,
    }
}

/// Returns a Lex configuration; `more` replaces or adds members of it.
pub(crate) fn lex(more: Value) -> Value {
    let alias = "arn:aws:lex:us-east-1:111122223333:bot-alias/ABCDEFGHIJ/0123456789";
    let mut lex = json!({ "LexBotAliasArn": alias, "LocaleId": "en_US" });
    if let Value::Object(more) = more {
        more.into_iter().for_each(|(name, value)| lex[name] = value);
    }
    lex
}

/// Returns a processor of a channel flow.
pub(crate) fn processor(fallback: &str) -> Value {
    let function = "arn:aws:lambda:us-east-1:000000000000:function:filter";
    let lambda = json!({ "ResourceArn": function, "InvocationType": "ASYNC" });
    json!({ "Name": "filter", "ExecutionOrder": 1, "FallbackAction": fallback,
        "Configuration": { "Lambda": lambda } })
}

/// Returns the text of a JSON string.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("is a string").to_owned()
}

/// Returns the items of a JSON array.
pub(crate) fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("is an array")
}
