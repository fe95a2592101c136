//! What a session missed while it was away.
//!
//! Invariants: told is what the user may read now, and no more: events of his channels of today, the
//! ends of his memberships of then. Events of one home come in the order of their commits. All of it
//! is bounded: the time, the channels, the rows that are read; whatever passes a bound is refused as
//! a whole, so that nobody takes a part for all of it. See docs/decisions/0009.

mod select;

use std::collections::{HashMap, HashSet};
use std::vec;

use serde_json::json;
use store::table::event_key;
use store::{BoxFuture, Direction, Key, Range, Stamp, Uid, Unavailable, View};
use wire::event::EVENT_ID;

use super::{SessionUser, below, of_elastic};
use crate::error::Result;
use crate::event::{self, Effect, Place, Row, Told};
use crate::identity::app_instance::AppInstance;
use crate::limits::{
    CLOCKS_APART_MS_MAX, RESUME_CHANNELS_MAX, RESUME_EVENTS_MAX, RESUME_OVERLAP_MS,
    RESUME_RANGES_MAX, RESUME_RANGES_PER_READ, RETOLD_ROWS_PER_READ, SESSION_ROWS_PER_READ,
    USER_MEMBERSHIPS,
};
use crate::messaging::channel::Channel;
use crate::messaging::channel_membership::CHANNEL_MEMBERSHIP_BY_MEMBER;
use crate::messaging::channel_membership::departure::{self, Departure};
use crate::messaging::channel_moderator::CHANNEL_MODERATOR_BY_MODERATOR;
use crate::{Chat, limits};
use select::Reader;

/// The type of messages and frames that are the service's own.
const SYSTEM: &str = "SYSTEM";

/// Why a session cannot be told what it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The id was not made by this store, or cannot be read.
    UnknownId,
    /// The rows of that time may be gone.
    Window,
    TooManyChannels,
    TooManyEvents,
}

impl Refusal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownId => "UNKNOWN_ID",
            Self::Window => "WINDOW",
            Self::TooManyChannels => "TOO_MANY_CHANNELS",
            Self::TooManyEvents => "TOO_MANY_EVENTS",
        }
    }
}

/// What a session missed, as far as it is not told yet.
pub struct Missed {
    chat: Chat,
    places: vec::IntoIter<Place>,
    /// Of those that were told.
    count: usize,
    refusal: Option<Refusal>,
    /// The id from which on the present follows.
    present: String,
}

impl Chat {
    /// Returns the text of SESSION_ESTABLISHED, with the id that stands for the present.
    #[must_use]
    pub fn established(present: &str) -> Vec<u8> {
        wire::event::frame::<()>("SESSION_ESTABLISHED", SYSTEM, &[(EVENT_ID, present)], None)
    }

    /// Returns the text of SESSION_ESTABLISHED for a session that is told first what it missed. It has
    /// no id: who loses his socket meanwhile goes on with the last one that he has.
    #[must_use]
    pub fn established_to_resume() -> Vec<u8> {
        wire::event::frame::<()>("SESSION_ESTABLISHED", SYSTEM, &[], None)
    }

    /// Returns the id that stands for the present: nothing that is committed from here on was told.
    /// What was stamped by `last_ms` at the latest is known to be told or to be seen in the store.
    #[must_use]
    pub fn present(&self, last_ms: u64) -> String {
        self.0.place.event_ids.of(self.0.clock.now_ms().min(last_ms), 0)
    }

    /// Finds what a user missed since the event `id`, once his session hears the present, which began
    /// at `present`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn missed<'a>(
        &'a self,
        user: &'a SessionUser,
        id: &'a str,
        present: String,
    ) -> BoxFuture<'a, std::result::Result<Missed, wire::Error>> {
        Box::pin(async { Ok(self.missed_since(user, id, present).await?) })
    }

    async fn missed_since(&self, user: &SessionUser, id: &str, present: String) -> Result<Missed> {
        let (places, refusal) = match self.find_missed(user, id).await? {
            Ok(places) => (places, None),
            Err(refusal) => (Vec::new(), Some(refusal)),
        };
        Ok(Missed { chat: self.clone(), places: places.into_iter(), count: 0, refusal, present })
    }

    async fn find_missed(
        &self,
        user: &SessionUser,
        id: &str,
    ) -> Result<std::result::Result<Vec<Place>, Refusal>> {
        let Some(at_ms) = self.0.place.event_ids.ms(id) else {
            return Ok(Err(Refusal::UnknownId));
        };
        let now_ms = self.0.clock.now_ms();
        if at_ms > now_ms.saturating_add(CLOCKS_APART_MS_MAX) {
            // The store was emptied, or its clock put back.
            return Ok(Err(Refusal::UnknownId));
        }
        if at_ms < self.kept_from_ms() {
            return Ok(Err(Refusal::Window));
        }
        let view = self.0.store.view();
        let channels = view.count(&USER_MEMBERSHIPS.key(user.user)).await?;
        if channels > RESUME_CHANNELS_MAX {
            return Ok(Err(Refusal::TooManyChannels));
        }
        let from_ms = at_ms.saturating_sub(RESUME_OVERLAP_MS);
        let mut search = self.search(view, user, from_ms, now_ms).await?;
        let is_all = search.of_channels().await? && search.of_departures().await?;
        Ok(if is_all { Ok(search.places()) } else { Err(Refusal::TooManyEvents) })
    }

    /// Reads what the user is a member of now.
    async fn search(
        &self,
        view: View,
        user: &SessionUser,
        from_ms: u64,
        now_ms: u64,
    ) -> Result<Search> {
        let table = &CHANNEL_MODERATOR_BY_MODERATOR;
        let moderated = below(&view, Range::prefix(Key::new(table).uid(user.user))).await?;
        let moderated: HashSet<Uid> = moderated.into_iter().map(|(channel, ..)| channel).collect();
        let instance: Option<AppInstance> =
            view.get(&AppInstance::key_of(user.app_instance)).await?;
        let retention = instance.and_then(|instance| instance.retention);
        let kept_from_ms = retention
            .map_or(0, |retention| retention.kept_from_ms(i64::try_from(now_ms).unwrap_or(0)));
        let mut reader = Reader {
            user: user.user,
            ordinary: HashSet::new(),
            sub_channels: HashSet::new(),
            moderated,
            from_ms,
            kept_from_ms,
        };
        let table = &CHANNEL_MEMBERSHIP_BY_MEMBER;
        let rows = below(&view, Range::prefix(Key::new(table).uid(user.user))).await?;
        let (mut homes, mut gone) = (Vec::new(), Vec::new());
        for rows in rows.chunks(SESSION_ROWS_PER_READ) {
            let key = |(_, _, id): &(Uid, u64, String)| Channel::key_of(user.app_instance, id);
            let channels =
                view.get_many::<Channel>(&rows.iter().map(key).collect::<Vec<_>>()).await?;
            let mut elastic = Vec::new();
            for (&(uid, ..), live) in rows.iter().zip(channels) {
                // The name may belong to another channel by now.
                match live.filter(|live| live.uid == uid) {
                    None => gone.push(uid),
                    Some(live) if live.elastic.is_some() => elastic.push((uid, false)),
                    Some(_) => {
                        reader.ordinary.insert(uid);
                    }
                }
            }
            // What all sub-channels hear of is below the channel.
            homes.extend(elastic.iter().map(|(channel, _)| channel));
            let sub_channels = of_elastic(&view, user.user, &elastic).await?;
            reader.sub_channels.extend(sub_channels.iter().map(|one| one.channel));
        }
        homes.extend(reader.ordinary.iter().chain(&reader.sub_channels));
        Ok(Search { view, reader, homes, gone, now_ms, row_count: 0, found: HashSet::new() })
    }
}

/// A search for what a user missed.
struct Search {
    view: View,
    reader: Reader,
    /// The homes of his channels of today.
    homes: Vec<Uid>,
    /// His channels that are gone and not purged yet.
    gone: Vec<Uid>,
    now_ms: u64,
    row_count: usize,
    found: HashSet<Place>,
}

impl Search {
    /// Looks through the homes of the user's channels. Returns whether that was within the bounds.
    async fn of_channels(&mut self) -> Result<bool> {
        let mut ranges = Vec::new();
        for homes in self.homes.chunks(SESSION_ROWS_PER_READ) {
            let keys: Vec<Key> = homes.iter().map(|&home| Key::home(home)).collect();
            for (&home, row) in homes.iter().zip(self.view.entries(&keys).await?) {
                // Most have told nothing meanwhile.
                let last_ms = row.map_or(0, |row| row.home().last_ms);
                if last_ms >= self.reader.from_ms {
                    ranges.extend(event::below(home, self.reader.from_ms, last_ms));
                }
            }
        }
        if ranges.len() > RESUME_RANGES_MAX {
            return Ok(false);
        }
        let (mut home, mut rows) = (Uid::NIL, Vec::new());
        for ranges in ranges.chunks(RESUME_RANGES_PER_READ) {
            let lists = self.view.lists(ranges, RETOLD_ROWS_PER_READ, Direction::Forward).await?;
            for (range, list) in ranges.iter().zip(lists) {
                let mut page = list;
                loop {
                    self.row_count += page.len();
                    if self.row_count > RESUME_EVENTS_MAX {
                        return Ok(false);
                    }
                    for row in page.iter().filter_map(event::row) {
                        if row.place.home != home {
                            self.found.extend(self.reader.select(&rows));
                            rows.clear();
                            home = row.place.home;
                        }
                        rows.push(row);
                    }
                    let Some(last) = page.last().filter(|_| page.len() == RETOLD_ROWS_PER_READ)
                    else {
                        break;
                    };
                    let rest = range.clone().after(&last.key);
                    page = self.view.list(&rest, RETOLD_ROWS_PER_READ, Direction::Forward).await?;
                }
            }
        }
        self.found.extend(self.reader.select(&rows));
        Ok(true)
    }

    /// Looks for what told the user of the ends of his memberships. It is read after his channels, so
    /// that one which ends meanwhile is found in one of both.
    async fn of_departures(&mut self) -> Result<bool> {
        let (from_ms, limit) = (self.reader.from_ms, limits::RESUME_DEPARTURES_MAX);
        let departures =
            departure::since(&self.view, self.reader.user, from_ms, self.now_ms, limit).await?;
        if departures.len() > limit {
            return Ok(false);
        }
        // What took him out of several sub-channels at once is below their channel.
        let commits =
            |one: &Departure| HashSet::from([(one.home, one.stamp), (one.channel, one.stamp)]);
        let commits: Vec<(Uid, Stamp)> =
            departures.iter().flat_map(commits).collect::<HashSet<_>>().into_iter().collect();
        let mut told = HashSet::new();
        for commits in commits.chunks(RESUME_RANGES_PER_READ) {
            let range = |&(home, stamp): &(Uid, Stamp)| event::of_commit(home, stamp);
            let ranges: Vec<Range> = commits.iter().map(range).collect();
            let lists = self.view.lists(&ranges, RETOLD_ROWS_PER_READ, Direction::Forward).await?;
            for (list, &commit) in lists.iter().zip(commits) {
                let rows: Vec<Row> = list.iter().filter_map(event::row).collect();
                if rows.iter().any(|row| self.reader.is_end(row)) {
                    told.insert(commit);
                    self.found.extend(self.reader.own(&rows));
                }
            }
        }
        let is_purged = |one: &&Departure| {
            !told.contains(&(one.home, one.stamp)) && !told.contains(&(one.channel, one.stamp))
        };
        // What a purge took him out of was told when the channel went.
        let purged = departures.iter().filter(is_purged).map(|one| one.channel);
        let mut gone: Vec<Uid> = std::mem::take(&mut self.gone);
        gone.extend(purged);
        gone.sort_unstable();
        gone.dedup();
        self.of_gone(&gone).await?;
        Ok(true)
    }

    /// Looks for the end of channels that are gone, which is the last that their homes told.
    async fn of_gone(&mut self, gone: &[Uid]) -> Result<()> {
        let to_ms = self.now_ms.saturating_add(CLOCKS_APART_MS_MAX);
        let ranges = |&home: &Uid| event::below(home, self.reader.from_ms, to_ms);
        let ranges: Vec<Range> = gone.iter().flat_map(ranges).collect();
        let mut last: HashMap<Uid, Row> = HashMap::new();
        for ranges in ranges.chunks(SESSION_ROWS_PER_READ) {
            let lists = self.view.lists(ranges, 1, Direction::Backward).await?;
            for row in lists.iter().flatten().filter_map(event::row) {
                let is_later = last.get(&row.place.home).is_none_or(|last| last.place < row.place);
                if is_later {
                    last.insert(row.place.home, row);
                }
            }
        }
        let is_end = |row: &&Row| {
            row.place.stamp.ms >= self.reader.from_ms
                && matches!(row.effect(), Some(Effect::ChannelGone { .. }))
        };
        self.found.extend(last.values().filter(is_end).map(|row| row.place));
        Ok(())
    }

    /// Returns what was found in the order in which it is told: by time, and by commit in each home.
    fn places(self) -> Vec<Place> {
        let mut places: Vec<Place> = self.found.into_iter().collect();
        places.sort_unstable_by_key(|place| (place.stamp.ms, *place));
        places
    }
}

impl Missed {
    /// Returns the next of the events; none when all were told.
    ///
    /// # Errors
    /// When the store does not answer, or when the rows have left meanwhile: the window is over.
    pub async fn next(&mut self) -> std::result::Result<Vec<Told>, wire::Error> {
        Ok(self.page().await?)
    }

    async fn page(&mut self) -> Result<Vec<Told>> {
        loop {
            let places: Vec<Place> = self.places.by_ref().take(RETOLD_ROWS_PER_READ).collect();
            if places.is_empty() {
                return Ok(Vec::new());
            }
            let key = |place: &Place| event_key(place.home, place.stamp, place.index);
            let keys: Vec<Key> = places.iter().map(key).collect();
            let rows = self.chat.0.store.view().entries(&keys).await?;
            let row = |row: Option<store::Entry>| event::row(&row?);
            let rows: Option<Vec<Row>> = rows.into_iter().map(row).collect();
            let gone = || Unavailable::new("events left while they were told again");
            let mut told = self.chat.tell_again(rows.ok_or_else(gone)?).await?;
            told.retain(|told| told.frame.is_some());
            self.count += told.len();
            if !told.is_empty() {
                return Ok(told);
            }
        }
    }

    /// Returns the text of the frame that follows the events, or says why there are none.
    #[must_use]
    pub fn end(&self) -> Vec<u8> {
        let headers = [(EVENT_ID, self.present.as_str())];
        let (event, payload) = match self.refusal {
            Some(refusal) => ("RESUME_TOO_OLD", json!({ "Reason": refusal.as_str() })),
            None => ("RESUME_COMPLETE", json!({ "EventCount": self.count })),
        };
        wire::event::frame_of_text(event, SYSTEM, &headers, Some(&payload.to_string()))
    }
}

#[cfg(test)]
mod tests;
