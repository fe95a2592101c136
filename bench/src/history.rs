//! A generated history of any size, in the form that `campanile db import` takes (docs/moving.md).
//!
//! One app instance; each channel has as many members as the others; one channel holds a tenth of the
//! messages and the others share the rest. Invariant: the same size gives the same bytes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;

use crate::world::{self, Seat};

const APP_INSTANCE: &str = "7f3c1c52-7a5f-4d9e-9f3b-0c4a4a0f6d11";
/// The place of an imported store in its ARNs.
const ARN: &str = "arn:aws:chime:us-east-1:000000000000:app-instance";
/// When everything was made: 2023-11-14.
const START_MS: u64 = 1_700_000_000_000;
/// The time between two messages of a channel.
const STEP_MS: u64 = 50;
const BUFFER_BYTES: usize = 1 << 20;

/// How much of everything.
#[derive(Args, Clone, Copy)]
pub(crate) struct Size {
    /// Messages in all.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) messages: u64,
    /// Users.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) users: u64,
    /// Channels.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) channels: u64,
    /// Memberships in all, the same number in each channel.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) memberships: u64,
}

#[derive(Args, Clone)]
pub(crate) struct Options {
    #[command(flatten)]
    size: Size,
    /// The file to be written.
    #[arg(long)]
    output: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    options.size.write(&options.output)
}

impl Size {
    fn members(&self) -> u64 {
        (self.memberships / self.channels.max(1)).clamp(1, self.users)
    }

    /// Returns the messages of a channel; the first one has a tenth of all.
    fn messages_of(&self, channel: u64) -> u64 {
        let first = if self.channels == 1 { self.messages } else { self.messages / 10 };
        if channel == 0 {
            return first;
        }
        let others = self.channels - 1;
        let rest = self.messages - first;
        rest / others + u64::from(channel - 1 < rest % others)
    }

    /// Returns the member of a channel in this place.
    fn member(&self, channel: u64, place: u64) -> String {
        user_id((channel * self.members() + place) % self.users)
    }

    /// Returns the first member of each of `count` channels.
    pub(crate) fn seats(&self, count: u64) -> Vec<Seat> {
        let seat = |channel| Seat {
            channel: channel_arn(channel),
            sender: format!("{ARN}/{APP_INSTANCE}/user/{}", self.member(channel, 0)),
        };
        (0..count.min(self.channels)).map(seat).collect()
    }

    /// Returns the request for a page of the channel with most messages: the newest ones, or those
    /// before the first `deep` share of them.
    pub(crate) fn page(&self, deep: bool) -> world::Request {
        let Seat { channel, sender } = self.seats(1).remove(0);
        let path = format!("/channels/{}/messages", world::label(&channel));
        let before_ms = START_MS + STEP_MS * (self.messages_of(0) / 10 + 50);
        let query = if deep { format!("&not-after={}", before_ms / 1_000) } else { String::new() };
        world::Request::new("GET", format!("{path}?max-results=50{query}"), &json!(null))
            .of(&sender)
    }

    /// Writes the history.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        ensure!(self.users > 0 && self.channels > 0, "there is somebody, and somewhere");
        let mut lines =
            Lines { out: BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?), count: 0 };
        lines.put(&json!({ "campanile": "history", "version": 1 }))?;
        lines.put(&json!({ "app_instance": { "id": APP_INSTANCE, "name": "Bench", "created": START_MS } }))?;
        for user in 0..self.users {
            let line =
                json!({ "id": user_id(user), "name": format!("User {user}"), "created": START_MS });
            lines.put(&json!({ "user": line }))?;
        }
        for channel in 0..self.channels {
            self.channel(&mut lines, channel)?;
        }
        let count = lines.count;
        lines.put(&json!({ "end": { "lines": count } }))?;
        Ok(lines.out.flush()?)
    }

    fn channel(&self, lines: &mut Lines, channel: u64) -> Result<()> {
        let (id, creator) = (channel_id(channel), self.member(channel, 0));
        lines.put(&json!({ "channel": { "id": id, "name": format!("Channel {channel}"),
            "created_by": creator, "created": START_MS } }))?;
        for place in 0..self.members() {
            let member = self.member(channel, place);
            lines.put(&json!({ "membership": { "channel": id, "user": member,
                "invited_by": creator, "created": START_MS } }))?;
        }
        for number in 0..self.messages_of(channel) {
            let sender = self.member(channel, number % self.members());
            let (content, created) = (world::content(), START_MS + STEP_MS * number);
            // Most of the file: written without a tree of values.
            lines.text(&format!(
                "{{\"message\":{{\"channel\":\"{id}\",\"sender\":\"{sender}\",\
                 \"content\":\"{content}\",\"created\":{created}}}}}"
            ))?;
        }
        Ok(())
    }
}

fn user_id(number: u64) -> String {
    format!("user-{number:07}")
}

fn channel_id(number: u64) -> String {
    format!("channel-{number:07}")
}

fn channel_arn(number: u64) -> String {
    format!("{ARN}/{APP_INSTANCE}/channel/{}", channel_id(number))
}

struct Lines {
    out: BufWriter<File>,
    count: u64,
}

impl Lines {
    fn put(&mut self, line: &serde_json::Value) -> Result<()> {
        self.text(&line.to_string())
    }

    fn text(&mut self, line: &str) -> Result<()> {
        self.count += 1;
        self.out.write_all(line.as_bytes())?;
        Ok(self.out.write_all(b"\n")?)
    }
}
