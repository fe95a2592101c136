//! Thousands of users and their channels in a data folder, before a server opens it.
//!
//! They are made by the rules in this process, many at a time: through a server it would take
//! minutes. Each user is a member of as many channels as every other, each channel has as many
//! members as every other.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use crate::engine::{Choice, Rules};
use crate::world::{Api as _, Request, arn, channel, label, token};

/// Requests side by side.
const SIDE_BY_SIDE: usize = 64;
/// Members that one request adds.
const BATCH_MEMBERS: usize = 100;

/// How many there are.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) users: usize,
    pub(crate) channels: usize,
    /// A divisor of `channels`.
    pub(crate) channels_of_each: usize,
}

/// Who there is.
pub(crate) struct Population {
    pub(crate) users: Vec<String>,
    pub(crate) channels: Vec<String>,
}

impl Plan {
    /// Returns the users of a channel.
    pub(crate) fn members<'a>(
        &self,
        users: &'a [String],
        channel: usize,
    ) -> impl Iterator<Item = &'a String> + use<'a> {
        let blocks = self.channels / self.channels_of_each;
        users.iter().skip(channel / self.channels_of_each).step_by(blocks)
    }

    /// Makes everybody in a new folder, or in a database, and closes it.
    pub(crate) async fn fill(self, choice: &Choice, folder: &Path) -> Result<Population> {
        ensure!(self.channels.is_multiple_of(self.channels_of_each), "the channels do not divide");
        let engine = choice.open(folder).await?;
        let rules = Rules::open(engine.clone()).await?;
        let body = json!({ "Name": "bench", "ClientRequestToken": token() });
        let made = rules.clone().call(&Request::new("POST", "/app-instances", &body)).await?;
        let app_instance = arn(&made, "AppInstanceArn")?;
        let users = each(self.users, |number| user(rules.clone(), app_instance.clone(), number));
        let users = users.await?;
        let channels = each(self.channels, |number| {
            let members: Vec<String> = self.members(&users, number).cloned().collect();
            room(rules.clone(), app_instance.clone(), members)
        });
        let channels = channels.await?;
        engine.close().await;
        Ok(Population { users, channels })
    }
}

async fn user(mut rules: Rules, app_instance: String, number: usize) -> Result<String> {
    let body = json!({
        "AppInstanceArn": app_instance, "AppInstanceUserId": format!("user-{number:05}"),
        "Name": format!("User {number:05}"), "ClientRequestToken": token(),
    });
    let made = rules.call(&Request::new("POST", "/app-instance-users", &body)).await?;
    arn(&made, "AppInstanceUserArn")
}

async fn room(mut rules: Rules, app_instance: String, members: Vec<String>) -> Result<String> {
    let (creator, others) = members.split_first().context("a channel has members")?;
    let room = channel(&mut rules, &app_instance, creator).await?;
    let path = format!("/channels/{}/memberships?operation=batch-create", label(&room));
    for members in others.chunks(BATCH_MEMBERS) {
        let body = json!({ "MemberArns": members, "Type": "DEFAULT" });
        let made = rules.call(&Request::new("POST", path.as_str(), &body).of(creator)).await?;
        let refused = made["Errors"].as_array().map_or(0, Vec::len);
        ensure!(refused == 0, "{refused} members were refused");
    }
    Ok(room)
}

/// Does something for each number, some of them at a time, and returns the results in order.
async fn each<T, F>(count: usize, work: impl Fn(usize) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut results: Vec<Option<T>> = (0..count).map(|_| None).collect();
    for number in 0..count + SIDE_BY_SIDE {
        if running.len() >= SIDE_BY_SIDE || number >= count {
            let Some(ended) = running.join_next().await else { break };
            let (number, result): (usize, Result<T>) = ended?;
            results[number] = Some(result?);
        }
        if number < count {
            let work = work(number);
            running.spawn(async move { (number, work.await) });
        }
    }
    results.into_iter().collect::<Option<_>>().context("one is missing")
}
