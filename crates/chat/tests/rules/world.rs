//! The service under test: an engine, two nodes over it, a clock that is set by hand, and what was
//! told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chat::{Chat, Effect, Event, Step};
use serde_json::Value;
use store::conformance::Forgetful;
use store::{Audience as Heard, Committed, Engine, MockClock, SeededEntropy, Uid};
use tokio::sync::mpsc;

use crate::dice::Dice;
use crate::model::{Audience, Outcome, Told};
use crate::operation::Request;

/// 2021-07-01T00:00:00Z.
const START_MS: u64 = 1_625_097_600_000;
/// More than one step can fill.
const GROUPS_MAX: usize = 10_000;

/// Where the rows are kept.
pub(crate) enum Place {
    Memory,
    Sqlite(tempfile::TempDir),
    /// An engine with a defect.
    Forgetful,
    #[cfg(feature = "postgres-tests")]
    Postgres(String),
}

impl Place {
    async fn open(&self, options: store::Options) -> Arc<dyn Engine> {
        match self {
            Place::Memory => store::memory::open(options),
            Place::Forgetful => Arc::new(Forgetful(store::memory::open(options))),
            Place::Sqlite(folder) => store::sqlite::open(folder.path(), options).expect("opens"),
            #[cfg(feature = "postgres-tests")]
            Place::Postgres(url) => {
                let config = store::postgres::Config::new(url.clone());
                store::postgres::open(&config, options).await.expect("opens")
            }
        }
    }
}

pub(crate) struct World {
    place: Place,
    pub(crate) clock: Arc<MockClock>,
    engine: Arc<dyn Engine>,
    nodes: [Chat; 2],
    events: mpsc::Receiver<Vec<Committed>>,
    opened: u64,
    /// The text of the last refusal, for the reader of a failure.
    pub(crate) refusal: String,
    /// Whom and what the uids in events stand for.
    arns: BTreeMap<Uid, String>,
}

/// What a request came to.
pub(crate) enum Answer {
    Outcome(Outcome),
    /// The operation is not there yet.
    Unavailable,
}

impl World {
    pub(crate) async fn new(place: Place) -> Self {
        let clock = Arc::new(MockClock::new(START_MS));
        let (engine, events) = open_engine(&place, &clock, 0).await;
        let nodes = open_nodes(&engine, &clock, 0).await;
        let (refusal, arns) = (String::new(), BTreeMap::new());
        Self { place, clock, engine, nodes, events, opened: 0, refusal, arns }
    }

    /// Starts the nodes anew, and the engine where the rows outlive it.
    pub(crate) async fn restart(&mut self) {
        self.opened += 1;
        if !matches!(self.place, Place::Memory | Place::Forgetful) {
            self.engine.close().await;
            (self.engine, self.events) = open_engine(&self.place, &self.clock, self.opened).await;
        }
        self.nodes = open_nodes(&self.engine, &self.clock, self.opened).await;
    }

    /// Sends a request to one of the nodes; a list is read to its end, in pages of any size.
    pub(crate) async fn send(&mut self, request: &Request, dice: &Dice) -> Answer {
        let Some(items) = request.operation.list else {
            return self.call(request, &[], dice).await;
        };
        let mut all: Option<Value> = None;
        let mut next = String::new();
        loop {
            let max = dice.of(&[1, 2, 3, 50]);
            let max_results = max.to_string();
            let mut page = vec![("max-results", max_results.as_str())];
            if !next.is_empty() {
                page.push(("next-token", &next));
            }
            let mut part = match self.call(request, &page, dice).await {
                Answer::Outcome(Ok(part)) => part,
                refused => return refused,
            };
            let token = part.as_object_mut().and_then(|part| part.remove("NextToken"));
            let taken = part[items].as_array().map_or(0, Vec::len);
            if taken > max {
                return Answer::Outcome(Ok(
                    format!("{taken} items, and {max} were asked for").into()
                ));
            }
            all = Some(match all {
                None => part,
                Some(all) => joined(all, &part, items),
            });
            match token.as_ref().and_then(Value::as_str) {
                Some(token) => token.clone_into(&mut next),
                None => return Answer::Outcome(Ok(all.unwrap_or_default())),
            }
        }
    }

    async fn call(&mut self, request: &Request, page: &[(&str, &str)], dice: &Dice) -> Answer {
        let node = &self.nodes[dice.index(self.nodes.len())];
        let answer = match node.call(request.call(page)).await {
            Ok(answer) => answer,
            Err(error) if error.message().contains("is not available in this version") => {
                return Answer::Unavailable;
            }
            Err(error) => {
                error.message().clone_into(&mut self.refusal);
                let code = error.code();
                return Answer::Outcome(Err((code.status(), code.exception())));
            }
        };
        let expected = request.operation.status;
        if answer.status != expected {
            return Answer::Outcome(Ok(format!("status {}", answer.status).into()));
        }
        Answer::Outcome(Ok(match answer.body.as_slice() {
            [] => Value::Null,
            body => serde_json::from_slice(body).expect("answers are JSON"),
        }))
    }

    /// Does steps of the jobs that are due; tells whether nothing is left to do.
    pub(crate) async fn run_jobs(&self, step_count: u64) -> bool {
        for _ in 0..step_count {
            match self.nodes[0].run_job_step().await.expect("the step is done") {
                Step::Worked => {}
                Step::Overtaken => panic!("nobody else is there"),
                Step::Idle => return true,
            }
        }
        false
    }

    pub(crate) async fn sweep(&self) {
        self.nodes[1].run_sweep_step().await.expect("the step is done");
    }

    /// Returns what is wrong with the rows.
    pub(crate) async fn check(&self) -> Vec<chat::Finding> {
        self.nodes[0].check().await.expect("the store answers").findings
    }

    /// Learns the uid of a user who is there.
    pub(crate) async fn learn(&mut self, user_arn: &str) {
        if let Some(session) = self.nodes[0].connect(user_arn).await.expect("the store answers") {
            self.arns.insert(session.user, user_arn.to_owned());
        }
    }

    /// Returns what was told since the last call.
    pub(crate) fn heard(&mut self) -> Vec<Told> {
        let mut heard = Vec::new();
        while let Ok(group) = self.events.try_recv() {
            for committed in group {
                self.hear(&committed, &mut heard);
            }
        }
        heard.sort();
        heard
    }

    fn hear(&mut self, committed: &Committed, heard: &mut Vec<Told>) {
        let mut payloads = Vec::new();
        let mut joins = Vec::new();
        let mut joined = Vec::new();
        for (event, index) in committed.events.iter().zip(0..) {
            let body: &Event = event.body.downcast_ref().expect("only events of chat come here");
            let place = chat::Place { home: committed.home, stamp: committed.stamp, index };
            let frame = self.nodes[0].frame(body, place).map(|frame| read(&frame));
            match (body.effect(), &frame) {
                (Some(Effect::Join { user, .. }), None) => joins.push(user),
                (Some(Effect::Join { user, .. }), Some((_, payload))) => {
                    self.arns.insert(user, members(payload).join(" "));
                }
                (None, Some((_, payload))) => joined.push(members(payload)),
                _ => {}
            }
            payloads.extend(frame.map(|frame| (frame, &event.audience)));
        }
        // Who joins before anybody is told is named in the same order in what is told.
        let mut members: Vec<String> =
            joined.iter().max_by_key(|one| one.len()).cloned().unwrap_or_default();
        if members.len() < 2 {
            members = joined.concat();
        }
        self.arns.extend(joins.into_iter().zip(members));
        for ((event_type, payload), audience) in payloads {
            let channel = payload["ChannelArn"].as_str().map(str::to_owned);
            self.arns.extend(channel.map(|arn| (committed.home, arn)));
            let audience = self.audience(audience);
            // What nobody hears was not told.
            if audience != Audience::Users(BTreeSet::new()) {
                heard.push(Told { event_type, audience, about: about(&payload) });
            }
        }
    }

    fn audience(&self, heard: &Heard) -> Audience {
        let arn = |uid: &Uid| self.arns.get(uid).cloned().unwrap_or_else(|| format!("{uid:?}"));
        match heard {
            Heard::Members(channel) => Audience::Members(arn(channel)),
            Heard::Moderators(channel) => Audience::Moderators(arn(channel)),
            Heard::Users(users) => Audience::Users(users.iter().map(arn).collect()),
            Heard::Internal => panic!("what has a payload is told to somebody"),
        }
    }
}

/// Returns the type and the payload of a frame.
fn read(frame: &[u8]) -> (String, Value) {
    let frame: Value = serde_json::from_slice(frame).expect("frames are JSON");
    let event_type = frame["Headers"]["x-amz-chime-event-type"].as_str().expect("has a type");
    let payload = frame["Payload"].as_str().expect("has a payload");
    (event_type.to_owned(), serde_json::from_str(payload).expect("payloads are JSON"))
}

/// Returns the ARNs of the members that a payload names.
fn members(payload: &Value) -> Vec<String> {
    let batch = payload["Members"].as_array().into_iter().flatten();
    let members = batch.chain(payload.get("Member"));
    members.filter_map(|member| member["Arn"].as_str()).map(str::to_owned).collect()
}

/// Returns what an event is about, as the model writes it.
fn about(payload: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(id) = text(&payload["MessageId"]) {
        let status = text(&payload["Status"]["Value"]).unwrap_or_default();
        return format!("{id} {status} {:?}", text(&payload["Content"]));
    }
    if let Some(members) = payload["Members"].as_array() {
        let mut members: Vec<String> = members.iter().filter_map(|one| text(&one["Arn"])).collect();
        members.sort();
        return members.join(" ");
    }
    if let Some(member) = text(&payload["Member"]["Arn"]) {
        return member;
    }
    let channel = |member: &str| text(&payload[member]);
    let (name, mode) = (channel("Name").unwrap_or_default(), channel("Mode").unwrap_or_default());
    format!("{name} {mode} {:?}", channel("Metadata"))
}

fn joined(mut all: Value, part: &Value, items: &str) -> Value {
    let more = part[items].as_array().cloned().unwrap_or_default();
    if let Some(all) = all[items].as_array_mut() {
        all.extend(more);
    }
    all
}

async fn open_engine(
    place: &Place,
    clock: &Arc<MockClock>,
    opened: u64,
) -> (Arc<dyn Engine>, mpsc::Receiver<Vec<Committed>>) {
    let (sink, events) = mpsc::channel(GROUPS_MAX);
    let options = store::Options {
        tables: chat::tables(),
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::new(1_000 + opened)),
        sink: Some(sink),
    };
    (place.open(options).await, events)
}

async fn open_nodes(engine: &Arc<dyn Engine>, clock: &Arc<MockClock>, opened: u64) -> [Chat; 2] {
    let open = async |number: u64| {
        let options = chat::Options {
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(2_000 + 2 * opened + number)),
            quotas: chat::Quotas::default(),
            resume_window_ms: chat::RESUME_WINDOW_MS,
        };
        Chat::open(engine.clone(), options).await.expect("the store opens")
    };
    [open(0).await, open(1).await]
}
