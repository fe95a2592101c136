//! An elastic channel of a million members beside small ones: what a request and a step cost.
//!
//! One user and one membership are made by the rules and recorded; the others are written to the
//! engine as the same rows with other uids, since a million requests would take an hour. Every
//! figure is of one caller, who waits for each answer, so that the rows that an operation visits
//! decide and not its neighbours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use store::Engine;

use crate::Place;
use crate::cpu::Whose;
use crate::elastic::load::Loader;
use crate::engine::{Choice, Rules};
use crate::table;
use crate::template::Recorder;
use crate::world::{self, Request, arn, label, token};

mod load;

/// Sub-channels of an elastic channel that are full before the measurement, so that it may have as
/// many in all as the service allows.
const FULL: usize = 95;
/// The same of the elastic channel that has few.
const FULL_OF_FEW: usize = 2;
/// Sub-channels that a channel may get during the measurement.
const FREE: usize = 5;
/// Members of the ordinary channel.
const ORDINARY: usize = 100;
/// How many members the small elastic channel has for each that the large one has.
const SMALL_SHARE: usize = 100;
/// A store with fewer members is proved after the run.
const CHECKED_MAX: usize = 200_000;

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    place: Place,
    /// Members of the large channel.
    #[arg(long, default_value_t = 1_000_000)]
    members: usize,
    /// Operations of each kind.
    #[arg(long, default_value_t = 400)]
    count: usize,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = options.place.folder()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let engine = options.choice.open(folder.path()).await?;
        measure(options, &engine).await?;
        engine.close().await;
        Ok(())
    })
}

async fn measure(options: &Options, engine: &Arc<dyn Engine>) -> Result<()> {
    let target = options.members.div_ceil(FULL);
    // Those who join during the measurement find a place in the small one too.
    let small = (target / SMALL_SHARE).max(options.count.div_ceil(FREE) + 1);
    let target = target.max(small);
    let mut quotas = chat::Quotas::default();
    quotas.set("elastic-channels", 3)?;
    quotas.set("users", 10_000_000)?;
    quotas.set("sub-channel-memberships", i64::try_from(target)?)?;
    let recorder = Arc::new(Recorder::new(engine.clone()));
    let rules = Rules::open_with(recorder.clone(), quotas).await?;
    let mut bench = Bench::make(rules, recorder, options.count).await?;
    let begun = Instant::now();
    let mut columns = vec![bench.ordinary().await?];
    let mut loaded = 0;
    for (full, target) in [(FULL_OF_FEW, small), (FULL, small), (FULL, target)] {
        let channel = bench.elastic(full, target).await?;
        loaded += channel.members.len();
        columns.push(bench.figures(&channel).await?);
    }
    println!(
        "Operations of one caller, engine {}, {loaded} memberships loaded and all measured in {} s:\n",
        options.choice.name(),
        begun.elapsed().as_secs()
    );
    print(&columns);
    if loaded < CHECKED_MAX {
        let report = bench.rules.chat().check().await.context("the store is read")?;
        ensure!(report.finding_count == 0, "{:?}", report.findings);
    }
    Ok(())
}

/// A channel to be measured.
struct Channel {
    title: String,
    arn: String,
    /// Users and, in an elastic channel, their sub-channels.
    members: Vec<(String, Option<String>)>,
}

/// What one operation took.
struct Figure {
    operation: &'static str,
    median: Duration,
    p99: Duration,
    cpu: Duration,
}

struct Column {
    title: String,
    figures: Vec<Figure>,
}

struct Bench {
    rules: Rules,
    recorder: Arc<Recorder>,
    app_instance: String,
    owner: String,
    /// Operations of each kind.
    count: usize,
    users: usize,
    /// Elastic channels.
    channels: usize,
}

impl Bench {
    async fn make(rules: Rules, recorder: Arc<Recorder>, count: usize) -> Result<Bench> {
        let body = json!({ "Name": "bench", "ClientRequestToken": token() });
        let made = answer(&rules, &Request::new("POST", "/app-instances", &body)).await?;
        let app_instance = arn(&made, "AppInstanceArn")?;
        let owner = String::new();
        let mut bench =
            Bench { rules, recorder, app_instance, owner, count, users: 0, channels: 0 };
        bench.owner = bench.user().await?;
        Ok(bench)
    }

    async fn user(&mut self) -> Result<String> {
        self.users += 1;
        let id = format!("visitor-{:07}", self.users);
        answer(&self.rules, &create_user(&self.app_instance, &id))
            .await
            .and_then(|made| user_arn(&made))
    }

    async fn users(&mut self, count: usize) -> Result<Vec<String>> {
        let mut users = Vec::new();
        for _ in 0..count {
            users.push(self.user().await?);
        }
        Ok(users)
    }

    async fn channel(&self, more: Value) -> Result<String> {
        let mut body = json!({ "AppInstanceArn": self.app_instance, "Name": "A channel",
            "ClientRequestToken": token() });
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let request = Request::new("POST", "/channels", &body).of(&self.owner);
        arn(&answer(&self.rules, &request).await?, "ChannelArn")
    }

    /// Measures an ordinary channel of few members.
    async fn ordinary(&mut self) -> Result<Column> {
        let channel = self.channel(json!({})).await?;
        let mut members = Vec::new();
        for user in self.users(ORDINARY).await? {
            answer(&self.rules, &world::join(&channel, &user, &self.owner)).await?;
            members.push((user, None));
        }
        let title = format!("ordinary, {ORDINARY} members");
        self.figures(&Channel { title, arn: channel, members }).await
    }

    /// Makes an elastic channel with so many sub-channels that are full, which may have some more.
    async fn elastic(&mut self, full: usize, target: usize) -> Result<Channel> {
        let elastic = json!({ "MaximumSubChannels": full + FREE,
            "TargetMembershipsPerSubChannel": target, "MinimumMembershipPercentage": 40 });
        self.recorder.begin();
        let channel = self.channel(json!({ "ElasticChannelConfiguration": elastic })).await?;
        let made = self.recorder.end();
        // Ids of the same length as those that they are the pattern for.
        let id = format!("member-{:03}-{:08}", self.channels, 0);
        self.channels += 1;
        self.recorder.begin();
        let user = answer(&self.rules, &create_user(&self.app_instance, &id))
            .await
            .and_then(|made| user_arn(&made))?;
        let created = self.recorder.end();
        self.recorder.begin();
        let join = world::join(&channel, &user, &self.owner);
        let joined = answer(&self.rules, &join).await?;
        let joined_by = self.recorder.end();
        let first = arn(&joined, "SubChannelId")?;
        let batches = [
            created.batch().context("a user is created by a batch")?,
            joined_by.batch().context("a member joins by a batch")?,
        ];
        let made = made.batch().context("a channel is made by a batch")?;
        let loader = Loader::new(made, batches, &id, &first)?;
        let loaded = loader.load(self.recorder.engine(), full, target).await?;
        let place = |(id, sub_channel): (String, String)| {
            (user.replace(&loader.id, &id), Some(sub_channel))
        };
        let members: Vec<_> = loaded.into_iter().map(place).collect();
        let title = format!("elastic, {} members in {full}", members.len());
        Ok(Channel { title, arn: channel, members })
    }

    async fn figures(&mut self, channel: &Channel) -> Result<Column> {
        let mut figures = Vec::new();
        let is_elastic = channel.members.iter().any(|(_, sub_channel)| sub_channel.is_some());
        let step = (channel.members.len() / (2 * self.count)).max(1);
        let some: Vec<_> = channel.members.iter().cycle().step_by(step).take(self.count).collect();
        let sends =
            some.iter().map(|(user, sub_channel)| send(&channel.arn, user, sub_channel.as_deref()));
        figures.push(self.timed("send", sends.collect()).await?);
        let newcomers = self.users(self.count).await?;
        let joins = newcomers.iter().map(|user| world::join(&channel.arn, user, &self.owner));
        figures.push(self.timed("join", joins.collect()).await?);
        if is_elastic {
            let path = format!("/channels/{}/subchannels", label(&channel.arn));
            let list = || Request::new("GET", path.clone(), &Value::Null).of(&self.owner);
            let lists = (0..self.count).map(|_| list()).collect();
            figures.push(self.timed("ListSubChannels", lists).await?);
            figures.push(self.moves().await?);
        }
        let leaves = newcomers.iter().map(|user| world::leave(&channel.arn, user, &self.owner));
        figures.push(self.timed("leave", leaves.collect()).await?);
        Ok(Column { title: channel.title.clone(), figures })
    }

    async fn timed(&self, operation: &'static str, requests: Vec<Request>) -> Result<Figure> {
        let (cpu, mut times) = (Whose::Own.used(), Vec::new());
        for request in &requests {
            let begun = Instant::now();
            self.rules.answer(request).await?;
            times.push(begun.elapsed());
        }
        Ok(figure(operation, times, Whose::Own.used() - cpu))
    }

    /// Measures the steps of the job that spreads members into the sub-channel that was added last.
    async fn moves(&self) -> Result<Figure> {
        let (cpu, mut times) = (Whose::Own.used(), Vec::new());
        while times.len() < self.count {
            let begun = Instant::now();
            if self.rules.chat().run_job_step().await? != chat::Step::Worked {
                break;
            }
            times.push(begun.elapsed());
        }
        let used = Whose::Own.used() - cpu;
        while self.rules.chat().run_job_step().await? == chat::Step::Worked {
            if times.len() >= self.count {
                break;
            }
        }
        Ok(figure("balancing step", times, used))
    }
}

fn figure(operation: &'static str, mut times: Vec<Duration>, cpu: Duration) -> Figure {
    times.sort_unstable();
    let quantile = |share: f64| {
        let place = (times.len() as f64 * share) as usize;
        times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    let count = u32::try_from(times.len().max(1)).unwrap_or(u32::MAX);
    Figure { operation, median: quantile(0.5), p99: quantile(0.99), cpu: cpu / count }
}

fn print(columns: &[Column]) {
    let heads = ["channel", "operation", "p50 ms", "p99", "CPU us"];
    let mut rows = Vec::new();
    for column in columns {
        for Figure { operation, median, p99, cpu } in &column.figures {
            let (title, operation) = (column.title.clone(), (*operation).to_owned());
            rows.push(vec![title, operation, table::ms(*median), table::ms(*p99), table::us(*cpu)]);
        }
    }
    table::print(&heads, &rows);
}

async fn answer(rules: &Rules, request: &Request) -> Result<Value> {
    Ok(serde_json::from_slice(&rules.answer(request).await?)?)
}

fn create_user(app_instance: &str, id: &str) -> Request {
    let body = json!({ "AppInstanceArn": app_instance, "AppInstanceUserId": id, "Name": id,
        "ClientRequestToken": token() });
    Request::new("POST", "/app-instance-users", &body)
}

fn user_arn(made: &Value) -> Result<String> {
    arn(made, "AppInstanceUserArn")
}

fn send(channel: &str, sender: &str, sub_channel: Option<&str>) -> Request {
    let mut body = json!({ "Content": world::content(), "Type": "STANDARD",
        "Persistence": "PERSISTENT", "ClientRequestToken": token() });
    if let Some(sub_channel) = sub_channel {
        body["SubChannelId"] = json!(sub_channel);
    }
    let path = format!("/channels/{}/messages", label(channel));
    Request::new("POST", path, &body).of(sender)
}
