//! SearchChannels: channels by who is in them.
//!
//! The channels that all wanted members have in common are found by comparing the lists of those
//! with the fewest, in the order of the channels' uids, leaping over what one of them lacks; the
//! others are asked by key. Invariants: a user finds his own channels alone, an admin all; hidden
//! members do not count and are not found; a request makes a bounded number of reads, however many
//! channels somebody has, and a page that is short for this has a token.

mod common;

use std::collections::BTreeSet;
use std::str::FromStr;

use store::{Entry, Key, Range, Txn, Uid, View};
use wire::arn::{Arn, Resource};
use wire::messaging::{
    ChannelSummary, SearchChannels, SearchChannelsRequest, SearchChannelsResponse, SearchField,
    SearchFieldOperator,
};

use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::messaging::channel::lookup::{Found, Named, lookup};
use crate::messaging::channel_membership::{
    CHANNEL_MEMBERSHIP_BY_MEMBER, key_by_member, key_if_hidden,
};
use crate::page::Page;
use crate::principal::Principal;
use crate::{Chat, access, limits, principal};

/// What a channel must fulfil to be found.
struct Search {
    app_instance: Uid,
    /// All of them are members whom everybody sees.
    members: Vec<Uid>,
    /// Nobody else is.
    is_exact: bool,
    /// Is a member too, whom the others may not see: the caller, unless he is an admin.
    insider: Option<Uid>,
}

/// Those whose lists are compared, and those who are asked for each channel.
struct Compared {
    leaders: Vec<Uid>,
    others: Vec<Uid>,
}

impl Handle<SearchChannels> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &SearchChannelsRequest,
    ) -> Result<Reply<SearchChannelsResponse>> {
        let caller = cx.actor()?.principal.uid;
        let fields = canonical(&input.fields);
        let mut page = Page::start(
            cx,
            &[b"SearchChannels", &caller.0, &fields],
            input.max_results,
            input.next_token.as_deref(),
        )?;
        let (mut channels, mut next_token) = (Vec::new(), None);
        if let Some(search) = Search::of(cx, tx, &input.fields).await? {
            let view = tx.view();
            let is_all = search.fill(cx, &view, &mut page, &mut channels).await?;
            next_token = if is_all { None } else { page.token(cx) };
        }
        Ok(Reply::Ready(SearchChannelsResponse { channels: Some(channels), next_token }))
    }
}

/// Returns the fields as a token is bound to them.
fn canonical(fields: &[SearchField]) -> Vec<u8> {
    let mut text = Vec::new();
    for field in fields {
        text.extend_from_slice(field.operator.as_str().as_bytes());
        for value in &field.values {
            // A value has no more than 512 characters.
            text.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
            text.extend_from_slice(value.as_bytes());
        }
        text.push(0);
    }
    text
}

impl Search {
    /// Reads the fields, all of which must hold; nothing when no channel can fulfil them.
    async fn of(cx: &Cx, tx: &mut Txn, fields: &[SearchField]) -> Result<Option<Self>> {
        let actor = cx.actor()?;
        let values: Vec<&str> =
            fields.iter().flat_map(|field| &field.values).map(String::as_str).collect();
        if !values.iter().all(|value| names_principal(value)) {
            return Err(Error::bad_request("A search value does not name a user or bot"));
        }
        let found = principal::find_all(cx, tx, actor.app_instance, &values).await?;
        let is_admin = access::is_admin(cx, tx).await?;
        let uids: Option<Vec<Uid>> =
            found.iter().map(|one| one.as_ref().map(|one: &Principal| one.uid)).collect();
        // Somebody who is not there is in no channel.
        let Some(uids) = uids else { return Ok(None) };
        let members: BTreeSet<Uid> = uids.iter().copied().collect();
        let (mut is_exact, mut rest) = (false, uids.as_slice());
        for field in fields {
            let (own, others) = rest.split_at(field.values.len());
            rest = others;
            if field.operator == SearchFieldOperator::Equals {
                is_exact = true;
                if own.iter().copied().collect::<BTreeSet<_>>() != members {
                    return Ok(None);
                }
            }
        }
        let caller = actor.principal.uid;
        let insider = (!is_admin && !members.contains(&caller)).then_some(caller);
        let members = members.into_iter().collect();
        Ok(Some(Self { app_instance: actor.app_instance, members, is_exact, insider }))
    }

    /// Fills the page and tells whether there is nothing behind it.
    async fn fill(
        &self,
        cx: &Cx,
        view: &View,
        page: &mut Page,
        channels: &mut Vec<ChannelSummary>,
    ) -> Result<bool> {
        let compared = self.compared(view).await?;
        while page.may_read() {
            let behind = page.position().and_then(|position| position.try_into().ok()).map(Uid);
            let step = compared.step(view, behind).await?;
            let found = self.matches(view, &compared, &step.channels).await?;
            for (channel, found) in step.channels.iter().zip(found) {
                if !page.has_room() {
                    return Ok(false);
                }
                page.pass(&channel.uid.0, found.is_some());
                channels.extend(found.map(|found| found.channel.summary(cx, found.home.as_ref())));
            }
            match step.reached {
                Some(reached) => page.pass(&reached.0, false),
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Lets those lead who have the fewest channels.
    async fn compared(&self, view: &View) -> Result<Compared> {
        let mut leaders: Vec<Uid> = self.members.iter().copied().chain(self.insider).collect();
        let counts: Vec<Key> =
            leaders.iter().map(|&uid| limits::USER_MEMBERSHIPS.key(uid)).collect();
        let counts = view.entries(&counts).await?;
        let count = |entry: &Option<Entry>| entry.as_ref().map_or(0, Entry::count);
        let mut counted: Vec<(i64, Uid)> = counts.iter().map(count).zip(leaders).collect();
        counted.sort_unstable();
        leaders = counted.into_iter().map(|(_, uid)| uid).collect();
        let others = leaders.split_off(leaders.len().min(limits::SEARCH_LEADERS_MAX));
        Ok(Compared { leaders, others })
    }

    /// Returns for each channel that the leaders have in common what there is to show of it, if it
    /// is what is searched for.
    async fn matches(
        &self,
        view: &View,
        compared: &Compared,
        channels: &[Named],
    ) -> Result<Vec<Option<Found<2>>>> {
        let named: Vec<Option<Named>> = channels.iter().cloned().map(Some).collect();
        let counts = |uid| [limits::CHANNEL_MEMBERSHIPS.key(uid), limits::hidden_memberships(uid)];
        let mut found = lookup(view, self.app_instance, &named, counts).await?;
        for one in &mut found {
            *one = one.take().filter(|one| self.fits(one));
        }
        let questions: Vec<Question> = found
            .iter()
            .enumerate()
            .filter_map(|(index, one)| one.as_ref().map(|one| (index, one)))
            .flat_map(|(index, one)| self.questions(compared, index, one))
            .collect();
        for questions in questions.chunks(limits::SEARCH_POINTS_PER_READ) {
            let keys: Vec<Key> = questions.iter().map(|question| question.key.clone()).collect();
            for (question, row) in questions.iter().zip(view.entries(&keys).await?) {
                if row.is_some() != question.is_there {
                    found[question.index] = None;
                }
            }
        }
        Ok(found)
    }

    /// Whether the channel has as many visible members as it must.
    fn fits(&self, found: &Found<2>) -> bool {
        let [all, hidden] = found.beside.each_ref().map(|row| row.as_ref().map_or(0, Entry::count));
        let visible = usize::try_from(all - hidden).unwrap_or(0);
        if self.is_exact { visible == self.members.len() } else { visible >= self.members.len() }
    }

    /// What remains to be asked of a channel: whether the others are in it, and that none of the
    /// members is a hidden one.
    fn questions(&self, compared: &Compared, index: usize, found: &Found<2>) -> Vec<Question> {
        let uid = found.channel.uid;
        let [_, hidden] = &found.beside;
        let question = |key, is_there| Question { index, key, is_there };
        let mut questions: Vec<Question> = compared
            .others
            .iter()
            .map(|&other| question(key_by_member(other, uid), true))
            .collect();
        if hidden.as_ref().is_some_and(|hidden| hidden.count() > 0) {
            let members = self.members.iter();
            questions.extend(members.map(|&member| question(key_if_hidden(uid, member), false)));
        }
        questions
    }
}

/// Whether a row must be there, or must not, for the channel at `index` to be found.
struct Question {
    index: usize,
    key: Key,
    is_there: bool,
}

impl Compared {
    /// Returns the next channels that the leaders have in common behind a channel.
    async fn step(&self, view: &View, behind: Option<Uid>) -> Result<common::Step> {
        let limit = match self.leaders.len() {
            // Every row of a list that is alone is a channel in common.
            0 | 1 => limits::SEARCH_CANDIDATES_MAX,
            count => limits::SEARCH_ROWS_PER_READ / count,
        };
        let range = |&leader: &Uid| {
            let all = Range::prefix(Key::new(&CHANNEL_MEMBERSHIP_BY_MEMBER).uid(leader));
            match behind {
                Some(behind) => all.after(key_by_member(leader, behind).bytes()),
                None => all,
            }
        };
        let ranges: Vec<Range> = self.leaders.iter().map(range).collect();
        let lists = view.lists(&ranges, limit, store::Direction::Forward).await?;
        let lists: Vec<Vec<Named>> =
            lists.iter().map(|rows| rows.iter().filter_map(Named::of).collect()).collect();
        Ok(common::step(&lists, limit, limits::SEARCH_CANDIDATES_MAX))
    }
}

fn names_principal(value: &str) -> bool {
    let arn = Arn::from_str(value);
    arn.is_ok_and(|arn| matches!(arn.resource, Resource::User(_) | Resource::Bot(_)))
}

#[cfg(test)]
mod tests;
