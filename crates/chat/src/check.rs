//! `db check`: proves every index row, counter and reference against the records.
//!
//! Invariant: it only reads, in pages; it judges a store that nobody writes meanwhile. A row below
//! a deleted parent is sound as long as the job that purges it is there, and a leftover after that;
//! event rows alone outlive their parent, until their time is over, and those of a message outlive
//! it where a later row tells of its end or retention may have removed it. Findings name tables and keys, never contents.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use store::table::{EVENT, HOME, event_bucket};
use store::{
    BoxFuture, Direction, Entry, HomeRow, Key, Parts, Range, Record, Stamp, Table, Uid, View,
};

use crate::Chat;
use crate::access_key;
use crate::error::Result;
use crate::event::{self, Tells};
use crate::identity::app_instance::AppInstance;
use crate::identity::app_instance_admin::AppInstanceAdmin;
use crate::identity::app_instance_bot::AppInstanceBot;
use crate::identity::app_instance_user::AppInstanceUser;
use crate::identity::app_instance_user_endpoint::AppInstanceUserEndpoint;
use crate::identity::tags::ResourceTag;
use crate::job::Job;
use crate::limits::{ACCOUNT, RESOURCE_COUNT};
use crate::messaging::channel::Channel;
use crate::messaging::channel_ban::ChannelBan;
use crate::messaging::channel_flow::ChannelFlow;
use crate::messaging::channel_membership::ChannelMembership;
use crate::messaging::channel_membership_preferences::ChannelMembershipPreferences;
use crate::messaging::channel_message::{CHANNEL_MESSAGE, ChannelMessage};
use crate::messaging::channel_moderator::ChannelModerator;
use crate::messaging::channel_read_marker::ChannelReadMarker;
use crate::messaging::session_place::MessagingSession;
use crate::messaging::sub_channel::{ElasticMember, SubChannel, SubChannelList};

/// Rows of one read.
const ROWS_PER_READ: usize = 1_000;
/// Findings that are told one by one; all are counted.
pub const FINDINGS_SHOWN_MAX: usize = 100;

/// What is wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The table.
    pub table: &'static str,
    /// The key, in hex.
    pub key: String,
    /// What should hold.
    pub problem: &'static str,
}

/// The outcome of a check.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows that were read.
    pub row_count: u64,
    /// Findings in all.
    pub finding_count: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
}

/// What a record owes to the rest of the store.
pub(crate) trait Proof: Record {
    /// The counters that count this record.
    fn counted(&self) -> Vec<Key> {
        Vec::new()
    }

    /// The uids of resources without which this record has no meaning.
    fn refers_to(&self) -> Vec<Uid>;

    /// The records without which this one must not be there.
    fn beside(&self) -> Vec<Key> {
        Vec::new()
    }

    /// The uid that others refer to, if this record is a resource.
    fn uid(&self) -> Option<Uid> {
        None
    }

    /// Messages below this resource from before this time may have been purged by retention.
    fn gone_before_ms(&self, _now_ms: i64) -> i64 {
        0
    }

    /// Other uids that are there as long as the record is.
    fn parts(&self) -> Vec<Uid> {
        Vec::new()
    }

    /// The commit that the key tells, and whether it is to be its home's last message at least.
    fn placed(&self) -> Option<(Uid, Stamp, Marks)> {
        None
    }
}

/// Whether a message counts for its channel's LastMessageTimestamp.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    Yes,
    No,
}

/// The last commit and the last message that the rows below a home tell of.
#[derive(Default)]
struct Reached {
    seq: u64,
    message_ms: u64,
}

struct Check {
    view: View,
    report: Report,
    /// Resources that are there or about to be purged.
    known: HashSet<Uid>,
    /// Those of them that are about to be purged.
    doomed: HashSet<Uid>,
    counted: HashMap<Key, i64>,
    /// Rows that each index table must have.
    indexed: BTreeMap<&'static str, (&'static Table, u64)>,
    reached: HashMap<Uid, Reached>,
    now_ms: i64,
    /// Before which time the messages of resources may be gone, if any.
    gone_before_ms: HashMap<Uid, i64>,
}

impl Chat {
    /// Reads the whole store and reports what does not fit together.
    ///
    /// # Errors
    /// When the store does not answer.
    #[must_use]
    pub fn check(&self) -> BoxFuture<'_, std::result::Result<Report, wire::Error>> {
        Box::pin(async { Ok(self.whole_check().await?) })
    }

    async fn whole_check(&self) -> Result<Report> {
        let mut check = Check {
            view: self.0.store.view(),
            report: Report::default(),
            known: HashSet::new(),
            doomed: HashSet::new(),
            counted: HashMap::new(),
            indexed: BTreeMap::new(),
            reached: HashMap::new(),
            now_ms: self.nobodys_cx(String::new()).now_ms,
            gone_before_ms: HashMap::new(),
        };
        check.all().await?;
        Ok(check.report)
    }
}

impl Check {
    async fn all(&mut self) -> Result<()> {
        // Resources first, from the top: what comes later refers to them.
        self.records::<Job>().await?;
        self.doomed.clone_from(&self.known);
        self.known.insert(ACCOUNT);
        self.records::<AppInstance>().await?;
        self.records::<AppInstanceUser>().await?;
        self.records::<AppInstanceBot>().await?;
        self.records::<ChannelFlow>().await?;
        self.records::<access_key::Row>().await?;
        self.records::<Channel>().await?;
        self.records::<SubChannelList>().await?;
        self.records::<SubChannel>().await?;
        self.records::<AppInstanceAdmin>().await?;
        self.records::<ChannelMembership>().await?;
        self.records::<ElasticMember>().await?;
        self.records::<ChannelReadMarker>().await?;
        self.records::<MessagingSession>().await?;
        self.records::<ChannelMembershipPreferences>().await?;
        self.records::<ChannelModerator>().await?;
        self.records::<ChannelBan>().await?;
        self.records::<AppInstanceUserEndpoint>().await?;
        self.records::<ResourceTag>().await?;
        self.records::<ChannelMessage>().await?;
        self.index_counts().await?;
        self.counters().await?;
        self.events().await?;
        self.homes().await
    }

    fn find(&mut self, table: &'static Table, key: &[u8], problem: &'static str) {
        self.report.finding_count += 1;
        if self.report.findings.len() < FINDINGS_SHOWN_MAX {
            let key = key.iter().map(|byte| format!("{byte:02x}")).collect();
            self.report.findings.push(Finding { table: table.name, key, problem });
        }
    }

    /// Returns the rows behind `last`, the next page of a table.
    async fn page(&mut self, table: &'static Table, last: Option<&Entry>) -> Result<Vec<Entry>> {
        let all = Range::prefix(Key::new(table));
        let range = match last {
            Some(last) => all.after(&last.key),
            None => all,
        };
        let rows = self.view.list(&range, ROWS_PER_READ, Direction::Forward).await?;
        self.report.row_count += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        Ok(rows)
    }

    async fn records<R: Proof>(&mut self) -> Result<()> {
        let mut rows = self.page(R::TABLE, None).await?;
        while let Some(last) = rows.last().cloned() {
            let (mut indexes, mut beside) = (Vec::new(), Vec::new());
            for row in &rows {
                match row.decode::<R>() {
                    Ok(record) => {
                        self.record(row, &record);
                        record.indexes(&mut indexes);
                        let others = record.beside().into_iter();
                        beside.extend(others.map(|key| (record.key(), key)));
                    }
                    Err(_) => self.find(R::TABLE, &row.key, "the value must be readable"),
                }
            }
            self.index_rows(&indexes).await?;
            self.rows_beside(&beside).await?;
            rows = self.page(R::TABLE, Some(&last)).await?;
        }
        Ok(())
    }

    fn record<R: Proof>(&mut self, row: &Entry, record: &R) {
        if record.key().bytes() != &row.key[..] {
            self.find(R::TABLE, &row.key, "the key must follow from the record");
        }
        if record.refers_to().iter().any(|uid| !self.known.contains(uid)) {
            self.find(R::TABLE, &row.key, "what it refers to must exist or be about to be purged");
        }
        self.known.extend(record.uid());
        self.retention(record);
        self.known.extend(record.parts());
        for counter in record.counted() {
            *self.counted.entry(counter).or_default() += 1;
        }
        if let Some((home, stamp, marks)) = record.placed() {
            let reached = self.reached.entry(home).or_default();
            reached.seq = reached.seq.max(stamp.seq);
            if marks == Marks::Yes {
                reached.message_ms = reached.message_ms.max(stamp.ms);
            }
        }
    }

    /// Notes which messages retention may have removed: what holds for the app instance holds for
    /// what refers to it.
    fn retention<R: Proof>(&mut self, record: &R) {
        let above = record.refers_to().into_iter().filter_map(|uid| self.gone_before_ms.get(&uid));
        let above_ms = above.copied().max().unwrap_or(0);
        let gone_before_ms = above_ms.max(record.gone_before_ms(self.now_ms));
        if gone_before_ms > 0 {
            let uids = record.uid().into_iter().chain(record.parts());
            self.gone_before_ms.extend(uids.map(|uid| (uid, gone_before_ms)));
        }
    }

    async fn rows_beside(&mut self, beside: &[(Key, Key)]) -> Result<()> {
        let keys: Vec<Key> = beside.iter().map(|(_, key)| key.clone()).collect();
        let rows = self.view.entries(&keys).await?;
        for ((key, _), _) in beside.iter().zip(rows).filter(|(_, row)| row.is_none()) {
            self.find(key.table(), key.bytes(), "the record that it goes with must be there");
        }
        Ok(())
    }

    async fn index_rows(&mut self, indexes: &[store::Index]) -> Result<()> {
        let keys: Vec<Key> = indexes.iter().map(|index| index.key.clone()).collect();
        let rows = self.view.entries(&keys).await?;
        for (index, row) in indexes.iter().zip(rows) {
            let table = index.key.table();
            self.indexed.entry(table.name).or_insert((table, 0)).1 += 1;
            if row.is_none_or(|row| row.value[..] != index.value[..]) {
                self.find(table, index.key.bytes(), "the row must be there, as its record says");
            }
        }
        Ok(())
    }

    /// All index rows that must be there are; so a table with more of them has strays.
    async fn index_counts(&mut self) -> Result<()> {
        let tables = crate::tables();
        for table in tables.into_iter().filter(|table| table.kind == store::Kind::Index) {
            let expected = self.indexed.get(table.name).map_or(0, |(_, count)| *count);
            let before = self.report.row_count;
            let mut last = self.page(table, None).await?.pop();
            while let Some(row) = last {
                last = self.page(table, Some(&row)).await?.pop();
            }
            if self.report.row_count - before != expected {
                self.find(table, &[], "there must be no row without its record");
            }
        }
        Ok(())
    }

    /// Finds a row whose key begins with the uid of nothing.
    fn parent(&mut self, table: &'static Table, row: &Entry) {
        if !Parts::new(&row.key).uid().is_some_and(|uid| self.known.contains(&uid)) {
            self.find(table, &row.key, "what it belongs to must exist or be about to be purged");
        }
    }

    async fn counters(&mut self) -> Result<()> {
        let mut rows = self.page(&RESOURCE_COUNT, None).await?;
        while let Some(last) = rows.last().cloned() {
            for row in &rows {
                self.parent(&RESOURCE_COUNT, row);
                let key = Key::new(&RESOURCE_COUNT).raw(&row.key);
                if row.count() != self.counted.remove(&key).unwrap_or(0) {
                    self.find(&RESOURCE_COUNT, &row.key, "the count must equal the records");
                }
            }
            rows = self.page(&RESOURCE_COUNT, Some(&last)).await?;
        }
        for key in std::mem::take(&mut self.counted).into_keys() {
            self.find(&RESOURCE_COUNT, key.bytes(), "the records must be counted");
        }
        Ok(())
    }

    async fn events(&mut self) -> Result<()> {
        let mut rows = self.page(&EVENT, None).await?;
        // Messages that are not there, until a row is met that tells of their end.
        let mut missing = BTreeSet::new();
        while let Some(last) = rows.last().cloned() {
            let (mut messages, mut deleted) = (Vec::new(), Vec::new());
            for row in &rows {
                let Some((bucket, home, stamp)) = event_place(&row.key) else {
                    self.find(&EVENT, &row.key, "the key must be readable");
                    continue;
                };
                if bucket != event_bucket(stamp.ms) {
                    self.find(&EVENT, &row.key, "the row must stand in the bucket of its time");
                }
                let is_live = self.known.contains(&home) && !self.doomed.contains(&home);
                if is_live {
                    let reached = self.reached.entry(home).or_default();
                    reached.seq = reached.seq.max(stamp.seq);
                }
                let gone_before_ms = self.gone_before_ms.get(&home).copied().unwrap_or(0);
                let is_kept = |of: Stamp| event::time(of).0 >= gone_before_ms;
                let message = |stamp| Key::new(&CHANNEL_MESSAGE).uid(home).stamp(stamp);
                match event::tells(&row.value, home, stamp) {
                    Some(Tells::Message(of)) if is_live && is_kept(of) => {
                        messages.push(message(of));
                    }
                    Some(Tells::Deleted(of)) => deleted.push(message(of)),
                    Some(_) => {}
                    None => self.find(&EVENT, &row.key, "the reference must be readable"),
                }
            }
            let found = self.view.entries(&messages).await?;
            let absent = messages.into_iter().zip(found).filter(|(_, row)| row.is_none());
            missing.extend(absent.map(|(key, _)| key));
            for key in deleted {
                missing.remove(&key);
            }
            rows = self.page(&EVENT, Some(&last)).await?;
        }
        for key in missing {
            self.find(&EVENT, key.bytes(), "the message that it refers to must exist");
        }
        Ok(())
    }

    async fn homes(&mut self) -> Result<()> {
        let mut rows = self.page(&HOME, None).await?;
        while let Some(last) = rows.last().cloned() {
            for row in &rows {
                self.parent(&HOME, row);
                let home = Parts::new(&row.key).uid().unwrap_or(Uid::NIL);
                let reached = self.reached.remove(&home).unwrap_or_default();
                let HomeRow { seq, last_message_ms, .. } = row.home();
                if seq < reached.seq || last_message_ms.unwrap_or(0) < reached.message_ms {
                    self.find(&HOME, &row.key, "the home must not be behind its rows");
                }
            }
            rows = self.page(&HOME, Some(&last)).await?;
        }
        for home in std::mem::take(&mut self.reached).into_keys() {
            self.find(&HOME, &home.0, "the home of these rows must exist");
        }
        Ok(())
    }
}

fn event_place(key: &[u8]) -> Option<(u32, Uid, Stamp)> {
    let mut parts = Parts::new(key);
    Some((parts.u32()?, parts.uid()?, parts.stamp()?))
}

#[cfg(test)]
mod tests;
