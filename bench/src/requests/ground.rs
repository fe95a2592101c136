//! The store of the run, which this process and the server both see, and what is asked of it.
//!
//! It is filled through the rules, and the channel with many messages through the engine: the row of
//! one message, recorded from a send, under as many stamps of the past. The embedded database
//! belongs to one process, so the server gets a copy of the folder.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use store::{Batch, Clock as _, Engine, Key, Put, Stamp, SystemClock};

use crate::engine::{Choice, Rules};
use crate::sender::{Source, Stock, Turns};
use crate::server::{Binary, Remote, Server};
use crate::template::{Recorder, Template};
use crate::world::{self, Api as _, Request, Seat, Size, World, join};

/// Users, each of whom sends into the channel of all.
const SENDERS: usize = 256;
/// Rows that one batch puts.
const ROWS_PER_BATCH: usize = 4_000;
const MESSAGE_TABLE: &str = "channel_message";
/// How far back the oldest message lies.
const PAST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Callers of the rows that are sends.
const SENDING_CALLERS: [usize; 4] = [1, 16, 64, 256];
/// Callers of the rows that are no sends.
const CALLERS: usize = 16;
/// Channels into which the guests go, one after the other.
const LOBBIES: usize = 40;

/// How much there is.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) messages: usize,
    pub(super) channels: usize,
    pub(super) guests: usize,
}

/// See the head of this file.
pub(super) struct Ground {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) server: Server,
    world: World,
    /// The channel with many messages, and a time in the middle of them.
    history: Seat,
    middle: String,
    /// The user who is in all channels.
    host: String,
}

/// What is measured in a row.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) callers: usize,
    /// One such request.
    pub(super) sample: Request,
    pub(super) templates: Vec<Template>,
    pub(super) answer_bytes: usize,
    asked: Asked,
}

/// How a subject's requests are made.
enum Asked {
    Again,
    Sends(Vec<Seat>),
    Stock(Stock),
}

impl Subject {
    /// Returns the requests of the caller at a place; `again` when the same one will do.
    pub(super) fn source(&self, place: usize, again: bool) -> Source {
        match &self.asked {
            Asked::Sends(seats) => {
                // A small world has fewer seats than there are callers.
                Source::Sends(Turns::share(seats, place % seats.len(), self.callers))
            }
            Asked::Stock(stock) if !again => Source::Stock(stock.clone()),
            Asked::Again | Asked::Stock(_) => Source::Again(self.sample.clone()),
        }
    }

    /// Returns the rows that one request reads as ranges.
    pub(super) fn row_count(&self) -> usize {
        self.templates.first().map_or(0, |template| template.row_count)
    }
}

impl Ground {
    pub(super) async fn make(
        choice: &Choice,
        binary: &Binary,
        folder: &Path,
        scale: Scale,
    ) -> Result<Ground> {
        let (own, served) = (folder.join("bare"), folder.join("server"));
        let engine = choice.open(&own).await?;
        let recorder = Arc::new(Recorder::new(engine.clone()));
        let mut rules = Rules::open(recorder.clone()).await?;
        let size = Size { senders: SENDERS, channels: scale.channels, guests: scale.guests };
        let world = World::make(&mut rules, size).await?;
        let host = world.together[0].sender.clone();
        for seat in world.apart.iter().filter(|seat| seat.sender != host) {
            rules.call(&join(&seat.channel, &host, &seat.sender)).await?;
        }
        let history = world.apart[0].clone();
        recorder.begin();
        rules.call(&world::send(&history)).await?;
        let middle_ms = fill(&*engine, &recorder.end(), scale.messages).await?;
        drop((rules, recorder));
        let engine = if choice.is_embedded() {
            engine.close().await;
            drop(engine);
            copy(&own, &served)?;
            choice.open(&own).await?
        } else {
            engine
        };
        let server = Server::start(binary, &choice.flags(&served))?;
        Ok(Ground { engine, server, world, history, middle: query_time(middle_ms), host })
    }

    /// Returns the rows of the table.
    pub(super) async fn subjects(&self) -> Result<Vec<Subject>> {
        let (together, apart) = (&self.world.together, &self.world.apart);
        let first = world::list(&self.history, None, None);
        let token = self.ask(&world::list(&self.history, Some(&self.middle), None)).await?;
        let token = token["NextToken"].as_str().context("the middle is not the end")?.to_owned();
        let deep = world::list(&self.history, Some(&self.middle), Some(&token));
        let mut subjects = Vec::new();
        for callers in SENDING_CALLERS {
            subjects.push(self.sends("SendChannelMessage, 1 channel", callers, together).await?);
        }
        for callers in SENDING_CALLERS {
            subjects.push(self.sends("SendChannelMessage, many channels", callers, apart).await?);
        }
        subjects.extend([
            self.again("ListChannelMessages, first page", first).await?,
            self.again("ListChannelMessages, deep page", deep).await?,
            self.again("DescribeChannel", world::describe(&self.history)).await?,
            self.again("ListChannelMembershipsForAppInstanceUser", world::memberships(&self.host))
                .await?,
            self.joins("CreateChannelMembership").await?,
        ]);
        Ok(subjects)
    }

    async fn again(&self, name: &'static str, sample: Request) -> Result<Subject> {
        let answer_bytes = self.ask(&sample).await?.to_string().len();
        let templates = self.templates(std::slice::from_ref(&sample)).await?;
        Ok(Subject { name, callers: CALLERS, sample, templates, answer_bytes, asked: Asked::Again })
    }

    async fn sends(&self, name: &'static str, callers: usize, seats: &[Seat]) -> Result<Subject> {
        let sample = world::send(&seats[0]);
        let answer_bytes = self.ask(&sample).await?.to_string().len();
        // The first of two is read for, the second is known.
        let requests: Vec<Request> =
            seats.iter().flat_map(|seat| [world::send(seat), world::send(seat)]).collect();
        let templates = self.templates(&requests).await?.into_iter().skip(1).step_by(2).collect();
        let asked = Asked::Sends(seats.to_vec());
        Ok(Subject { name, callers, sample, templates, answer_bytes, asked })
    }

    async fn joins(&self, name: &'static str) -> Result<Subject> {
        let lobbies = self.world.apart.iter().skip(1).take(LOBBIES);
        let (spare, guests) = self.world.guests.split_last().context("there are guests")?;
        let mut stock = Vec::new();
        for seat in lobbies {
            stock.extend(guests.iter().map(|guest| join(&seat.channel, guest, &seat.sender)));
        }
        let seat = &self.world.apart[1];
        let sample = join(&seat.channel, spare, &seat.sender);
        let templates = self.templates(std::slice::from_ref(&sample)).await?;
        let answer = self
            .ask(&join(&self.world.apart[2].channel, spare, &self.world.apart[2].sender))
            .await?;
        let asked = Asked::Stock(Arc::new(Mutex::new(stock)));
        let answer_bytes = answer.to_string().len();
        Ok(Subject { name, callers: CALLERS, sample, templates, answer_bytes, asked })
    }

    async fn ask(&self, request: &Request) -> Result<Value> {
        Remote::open(&self.server).await?.call(request).await
    }

    /// Records what each request asks of the engine.
    async fn templates(&self, requests: &[Request]) -> Result<Vec<Template>> {
        let recorder = Arc::new(Recorder::new(self.engine.clone()));
        let rules = Rules::open(recorder.clone()).await?;
        let mut found = Vec::new();
        for request in requests {
            recorder.begin();
            rules.answer(request).await?;
            found.push(recorder.end());
        }
        Ok(found)
    }
}

/// Puts messages into the channel of a recorded send, and returns the time of the middle one.
async fn fill(engine: &dyn Engine, send: &Template, count: usize) -> Result<u64> {
    let batch = send.batch().context("a send commits a batch")?;
    let message = batch.puts.iter().find(|put| put.key.table().name == MESSAGE_TABLE);
    let message = message.context("a send puts a message")?;
    let now_ms = SystemClock.now_ms();
    let past_ms = u64::try_from(PAST.as_millis())?;
    let time = |number: usize| now_ms - past_ms + past_ms * number as u64 / (count as u64 + 1);
    let numbers: Vec<usize> = (1..=count).collect();
    for numbers in numbers.chunks(ROWS_PER_BATCH) {
        let mut rows = Batch::new("history", batch.home);
        rows.puts.extend(numbers.iter().map(|number| {
            let stamp = Stamp { ms: time(*number), seq: *number as u64 };
            let key = Key::new(message.key.table()).uid(batch.home).stamp(stamp);
            Put { key, value: message.value.clone() }
        }));
        engine.commit(rows).await?;
    }
    Ok(time(count / 2))
}

/// Spells a time as queries have it.
fn query_time(ms: u64) -> String {
    format!("{}", ms / 1_000)
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        ensure!(entry.file_type()?.is_file(), "a data folder holds files");
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
