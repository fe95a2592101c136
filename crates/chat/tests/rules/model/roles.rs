//! Who may do what: the table of docs/roles.md, read from the document itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::{Channel, FORBIDDEN, Model, Refusal, Written};

/// The grants of each action: admin, moderator, member, hidden member, stranger.
static TABLE: LazyLock<BTreeMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let document = include_str!("../../../../../docs/roles.md");
    let rows = document.lines().filter(|line| line.starts_with("| "));
    rows.map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        (cells.next().unwrap_or_default(), cells.collect())
    })
    .collect()
});

impl Model {
    /// Lets the caller pass when one of his roles in the channel allows the action.
    pub(super) fn require_role(
        &self,
        caller: &Written,
        channel: &str,
        action: &str,
    ) -> Result<(), Refusal> {
        let grants = &TABLE[action];
        let channel = &self.channels[channel];
        let membership = channel.members.get(&caller.arn);
        let held = [
            self.admins.contains_key(&caller.arn),
            channel.moderators.contains_key(&caller.arn),
            membership.is_some_and(|membership| !membership.hidden),
            membership.is_some_and(|membership| membership.hidden),
            true,
        ];
        let mut granted = held.iter().zip(grants).filter(|(held, _)| **held);
        if granted.any(|(_, grant)| holds(grant, channel, membership.is_some())) {
            return Ok(());
        }
        Err(FORBIDDEN)
    }

    pub(super) fn is_admin(&self, caller: &Written) -> bool {
        self.admins.contains_key(&caller.arn)
    }
}

fn holds(grant: &str, channel: &Channel, joined: bool) -> bool {
    match grant {
        // The model has no elastic channels.
        "yes" | "ordinary" => true,
        "no" => false,
        "public" => channel.privacy == "PUBLIC",
        "unrestricted" => channel.mode == "UNRESTRICTED",
        "as a member" => joined,
        other => panic!("docs/roles.md says {other}"),
    }
}
