//! Which bots a message calls.
//!
//! Lex is not connected, so nothing answers; each call is counted as failed. Invariant: a message
//! that names no bot costs nothing here. Only bots that a message names, as its target or in its
//! mentions, are looked for: who else is in the channel is not asked.

use store::Txn;
use wire::arn::Resource;
use wire::messaging::{ChannelMessageType, SendChannelMessageRequest};

use crate::cx::Cx;
use crate::error::Result;
use crate::identity::app_instance_bot::AppInstanceBot;
use crate::messaging::channel::Channel;
use crate::messaging::channel_membership::ChannelMembership;
use crate::principal::{Kind, Principal};

/// The message attribute that holds the ARNs of those who are mentioned.
const MENTIONS: &str = "CHIME.mentions";

/// Returns how many bots are called by a message for `target`, or for everybody.
pub(super) async fn count(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    target: Option<&Principal>,
    input: &SendChannelMessageRequest,
) -> Result<u64> {
    if input.r#type == ChannelMessageType::Control {
        return Ok(0);
    }
    if let Some(target) = target {
        if target.kind == Kind::User {
            return Ok(0);
        }
        let calls = called(cx, tx, channel, &target.id, AppInstanceBot::hears_targeted).await?;
        return Ok(u64::from(calls));
    }
    let mut count = 0;
    for id in mentioned(cx, channel, input) {
        let calls = called(cx, tx, channel, &id, AppInstanceBot::hears_mentions).await?;
        count += u64::from(calls);
    }
    Ok(count)
}

/// Returns the ids of the bots that a message mentions, each once.
fn mentioned(cx: &Cx, channel: &Channel, input: &SendChannelMessageRequest) -> Vec<String> {
    let attribute = input.message_attributes.iter().flatten().find(|(name, _)| *name == MENTIONS);
    let arns = attribute.and_then(|(_, value)| value.string_values.as_deref()).unwrap_or_default();
    let mut ids: Vec<String> = arns
        .iter()
        .filter_map(|arn| match cx.parse_arn(arn)? {
            (app_instance, Resource::Bot(id)) if app_instance == channel.app_instance => Some(id),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Whether the bot is a member of the channel, is not the sender, and hears such messages. The commit
/// checks its rows, as a send may run on rows that were seen a while ago.
async fn called(
    cx: &Cx,
    tx: &mut Txn,
    channel: &Channel,
    id: &str,
    hears: impl Fn(&AppInstanceBot) -> bool,
) -> Result<bool> {
    let key = AppInstanceBot::key_of(channel.app_instance, id);
    let Some(bot) = tx.get::<AppInstanceBot>(&key).await? else { return Ok(false) };
    if bot.uid == cx.actor()?.principal.uid || !hears(&bot) {
        return Ok(false);
    }
    Ok(tx.exists(&ChannelMembership::key_of(channel.home(), bot.uid)).await?)
}

#[cfg(test)]
mod tests;
