//! What a send asks of an engine, recorded from the rules rather than written down a second time.
//!
//! `Recorder` stands between the rules and the engine and keeps the reads and the batch of a send.
//! `Template` plays them again with a new request token: the other rows that a send checks do not
//! change while nobody joins or leaves, so that every replay passes its checks.

use std::sync::{Arc, Mutex, PoisonError};

use store::{
    Batch, BoxFuture, Direction, Engine, Entropy, Entry, Event, Failure, Key, Range, Stamp,
    SystemEntropy, Uid, Unavailable,
};

/// The table whose rows are another's with each send.
const TOKEN_TABLE: &str = "request_token";
/// The end of a token's key, behind its time bucket: a hash.
type TokenName = [u8; 16];

/// The reads and the batch of one send.
#[derive(Clone)]
pub(crate) struct Template {
    reads: Vec<Vec<Key>>,
    batch: Batch,
}

impl Template {
    /// Returns the batch as it was recorded.
    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Returns the batch with a token of its own.
    pub(crate) fn renewed(&self) -> Batch {
        self.with_token(&token_name())
    }

    fn with_token(&self, name: &TokenName) -> Batch {
        let mut batch = self.batch.clone();
        batch.checks.iter_mut().for_each(|check| check.key = renew(&check.key, name));
        batch.puts.iter_mut().for_each(|put| put.key = renew(&put.key, name));
        batch
    }

    /// Does what a send does, with a token of its own.
    pub(crate) async fn replay(&self, engine: &dyn Engine) -> Result<Stamp, Failure> {
        let name = token_name();
        for keys in &self.reads {
            let keys: Vec<Key> = keys.iter().map(|key| renew(key, &name)).collect();
            engine.get(&keys).await?;
        }
        engine.commit(self.with_token(&name)).await
    }
}

fn token_name() -> TokenName {
    let mut name = TokenName::default();
    SystemEntropy.fill(&mut name);
    name
}

/// Puts another token's name into a token's key, and leaves every other key as it is.
fn renew(key: &Key, name: &TokenName) -> Key {
    match key.bytes().split_last_chunk::<{ size_of::<TokenName>() }>() {
        Some((bucket, _)) if key.table().name == TOKEN_TABLE => {
            Key::new(key.table()).raw(bucket).raw(name)
        }
        _ => key.clone(),
    }
}

/// An engine that keeps what the last commit was made of.
pub(crate) struct Recorder {
    engine: Arc<dyn Engine>,
    reads: Mutex<Vec<Vec<Key>>>,
    last: Mutex<Option<Template>>,
}

impl Recorder {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Recorder {
        Recorder { engine, reads: Mutex::default(), last: Mutex::default() }
    }

    pub(crate) fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Forgets what was read so far.
    pub(crate) fn begin(&self) {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the reads since `begin` and the batch of the last commit.
    pub(crate) fn end(&self) -> Option<Template> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Engine for Recorder {
    fn get<'a>(
        &'a self,
        keys: &'a [Key],
    ) -> BoxFuture<'a, Result<Vec<Option<Entry>>, Unavailable>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).push(keys.to_vec());
        self.engine.get(keys)
    }

    fn scan<'a>(
        &'a self,
        ranges: &'a [Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Vec<Vec<Entry>>, Unavailable>> {
        self.engine.scan(ranges, limit, direction, keys_only)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<Stamp, Failure>> {
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let template = Template { reads, batch: batch.clone() };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(template);
        self.engine.commit(batch)
    }

    fn publish(&self, home: Uid, events: Vec<Event>) -> BoxFuture<'_, Result<Stamp, Failure>> {
        self.engine.publish(home, events)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.engine.close()
    }
}
