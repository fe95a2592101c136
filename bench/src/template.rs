//! What a request asks of an engine, recorded from the rules rather than written down a second time.
//!
//! `Recorder` stands between the rules and the engine and keeps the reads and the batch of a request.
//! `Template` plays them again with a name of its own in place of the one that may be used once: the
//! token of a send, the member whom a membership makes. The other rows that a request checks do not
//! change meanwhile, so that every replay passes its checks. What is asked while nothing is recorded passes
//! through and is not copied, so that a measurement behind a recorder measures no copies.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{
    Batch, BoxFuture, Direction, Engine, Entropy, Entry, Event, Failure, Key, Range, Stamp,
    SystemEntropy, Uid, Unavailable,
};

/// The tables whose keys end with what may be used once.
const NAMING_TABLES: [&str; 2] = ["request_token", "channel_membership"];
/// The hash of a token, or the uid of a member.
type Name = [u8; 16];

/// One call by which a request reads.
#[derive(Clone)]
enum Read {
    Points(Vec<Key>),
    Ranges { ranges: Vec<Range>, limit: usize, direction: Direction, keys_only: bool },
}

/// The reads and the batch of one request.
#[derive(Clone)]
pub(crate) struct Template {
    reads: Vec<Read>,
    /// Rows that the ranges returned.
    pub(crate) row_count: usize,
    batch: Option<Batch>,
    /// What another name takes the place of.
    name: Option<Name>,
}

impl Template {
    fn new(reads: Vec<Read>, row_count: usize, mut batch: Option<Batch>) -> Template {
        let puts = batch.iter().flat_map(|batch| &batch.puts);
        let naming = puts.filter(|put| NAMING_TABLES.contains(&put.key.table().name));
        let name = naming.filter_map(|put| put.key.bytes().last_chunk().copied()).next_back();
        // A quota is no part of what is measured, and it would end a run.
        for add in batch.iter_mut().flat_map(|batch| &mut batch.adds) {
            add.max = add.max.map(|_| i64::MAX);
        }
        Template { reads, row_count, batch, name }
    }

    /// Returns the batch as it was recorded.
    pub(crate) fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// Returns the batch with a name of its own.
    pub(crate) fn renewed(&self) -> Option<Batch> {
        self.with_name(&new_name())
    }

    fn with_name(&self, new: &Name) -> Option<Batch> {
        let mut batch = self.batch.clone()?;
        if let Some(old) = &self.name {
            batch.checks.iter_mut().for_each(|check| renew(&mut check.key, old, new));
            batch.puts.iter_mut().for_each(|put| renew(&mut put.key, old, new));
            batch.adds.iter_mut().for_each(|add| renew(&mut add.key, old, new));
        }
        Some(batch)
    }

    /// Does what the request does, with a name of its own.
    pub(crate) async fn replay(&self, engine: &dyn Engine) -> Result<(), Failure> {
        let new = new_name();
        for read in &self.reads {
            match read {
                Read::Points(keys) => {
                    let mut keys = keys.clone();
                    if let Some(old) = &self.name {
                        keys.iter_mut().for_each(|key| renew(key, old, &new));
                    }
                    drop(engine.get(&keys).await?);
                }
                Read::Ranges { ranges, limit, direction, keys_only } => {
                    drop(engine.scan(ranges, *limit, *direction, *keys_only).await?);
                }
            }
        }
        if let Some(batch) = self.with_name(&new) {
            engine.commit(batch).await?;
        }
        Ok(())
    }
}

fn new_name() -> Name {
    let mut name = Name::default();
    SystemEntropy.fill(&mut name);
    name
}

/// Puts a name in the place of another, wherever that stands in a key.
fn renew(key: &mut Key, old: &Name, new: &Name) {
    let bytes = key.bytes();
    let Some(at) = bytes.windows(old.len()).position(|window| window == old) else { return };
    let (before, after) = (&bytes[..at], &bytes[at + old.len()..]);
    let renewed = Key::new(key.table()).raw(before).raw(new).raw(after);
    *key = renewed;
}

/// An engine that keeps what the last request was made of.
pub(crate) struct Recorder {
    engine: Arc<dyn Engine>,
    /// Nothing while nothing is recorded.
    made_of: Mutex<Option<MadeOf>>,
}

#[derive(Default)]
struct MadeOf {
    reads: Vec<Read>,
    row_count: usize,
    batch: Option<Batch>,
}

impl Recorder {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Recorder {
        Recorder { engine, made_of: Mutex::default() }
    }

    pub(crate) fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Begins to record.
    pub(crate) fn begin(&self) {
        *self.made_of() = Some(MadeOf::default());
    }

    /// Returns what was asked since `begin`, and records no more.
    pub(crate) fn end(&self) -> Template {
        let MadeOf { reads, row_count, batch } = self.made_of().take().unwrap_or_default();
        Template::new(reads, row_count, batch)
    }

    fn note(&self, note: impl FnOnce(&mut MadeOf)) {
        if let Some(made_of) = &mut *self.made_of() {
            note(made_of);
        }
    }

    fn made_of(&self) -> MutexGuard<'_, Option<MadeOf>> {
        self.made_of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Recorder {
    fn get<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, Unavailable>> {
        self.note(|made_of| made_of.reads.push(Read::Points(keys.to_vec())));
        self.engine.get(keys)
    }

    fn scan<'a>(
        &'a self,
        ranges: &'a [Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Vec<Vec<Entry>>, Unavailable>> {
        self.note(|made_of| {
            let read = Read::Ranges { ranges: ranges.to_vec(), limit, direction, keys_only };
            made_of.reads.push(read);
        });
        Box::pin(async move {
            let found = self.engine.scan(ranges, limit, direction, keys_only).await?;
            let row_count: usize = found.iter().map(Vec::len).sum();
            self.note(|made_of| made_of.row_count += row_count);
            Ok(found)
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.note(|made_of| made_of.batch = Some(batch.clone()));
        self.engine.commit(batch)
    }

    fn publish(&self, home: Uid, events: Vec<Event>) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.engine.publish(home, events)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.engine.close()
    }
}
