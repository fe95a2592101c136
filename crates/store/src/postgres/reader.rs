//! The pool of read connections.
//!
//! A call of one statement is a snapshot by itself; one of several is a read-only transaction
//! that is sent as a whole, so that both take one round trip. Invariants: a connection serves one
//! call at a time; one that failed is not used again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_postgres::{Error, Row};

use crate::engine::{Entry, Unavailable};
use crate::hash::{HashMap, HashSet};
use crate::id::Version;
use crate::key::{Key, KeyBytes};
use crate::postgres::connect::Connector;
use crate::postgres::lane;
use crate::postgres::schema::Form;
use crate::postgres::session::{self, Param, Pipeline, Session};
use crate::queue::closed;
use crate::range::{Direction, Range, Span};
use crate::table::{Kind, Table};

/// The most read connections of a node.
const READERS_MAX: usize = 8;
/// A little longer than the server's own bound on a statement.
const READ_TIMEOUT: Duration = Duration::from_secs(6);
/// A connection that the server has closed shows it at its next use only.
const TRIES_MAX: usize = 2;

pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

pub(super) struct Readers {
    connector: Arc<Connector>,
    /// The names of those that the store was opened with.
    tables: HashSet<&'static str>,
    places: Semaphore,
    idle: Mutex<Vec<Session>>,
}

/// Why a try to read failed.
enum Failed {
    /// The connection; another may do.
    Connection(Error),
    For(Unavailable),
}

impl From<Error> for Failed {
    fn from(cause: Error) -> Failed {
        if lane::is_lost(&cause) {
            Failed::Connection(cause)
        } else {
            Failed::For(unreadable(cause))
        }
    }
}

fn unreadable(cause: Error) -> Unavailable {
    Unavailable::caused("the database cannot be read", cause)
}

/// One statement of a call.
struct Ask<'a> {
    table: &'static Table,
    form: Form,
    params: Vec<Param<'a>>,
}

/// Lends a connection; back in the pool however the call ends, unless it failed.
struct Lent<'a> {
    readers: &'a Readers,
    session: Option<Session>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && !session.is_closed()
            && !self.readers.places.is_closed()
        {
            self.readers.idle().push(session);
        }
    }
}

impl Readers {
    pub(super) fn new(connector: Arc<Connector>, tables: &[&'static Table]) -> Readers {
        let places = Semaphore::new(READERS_MAX);
        let tables = tables.iter().map(|table| table.name).collect();
        Readers { connector, tables, places, idle: Mutex::default() }
    }

    /// Takes in a connection that was made elsewhere.
    pub(super) fn adopt(&self, session: Session) {
        self.idle().push(session);
    }

    /// Refuses further reads and closes the connections that are idle.
    pub(super) fn close(&self) {
        self.places.close();
        self.idle().clear();
    }

    pub(super) fn knows(&self, table: &Table) -> bool {
        self.tables.contains(table.name)
    }

    pub(super) async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Entry>>, Unavailable> {
        let mut by_table: BTreeMap<&str, (&'static Table, Vec<&[u8]>)> = BTreeMap::new();
        for key in keys {
            self.require(key.table())?;
            let (_, wanted) =
                by_table.entry(key.table().name).or_insert_with(|| (key.table(), Vec::new()));
            wanted.push(key.bytes());
        }
        let tables: Vec<&'static Table> = by_table.values().map(|(table, _)| *table).collect();
        let asks = || {
            let ask = |(table, keys): &(&'static Table, Vec<&'_ [u8]>)| {
                let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
                Ask { table, form: Form::Get, params: vec![Box::new(keys)] }
            };
            by_table.values().map(ask).collect()
        };
        let answers = self.snapshot(asks).await?;
        let mut found = HashMap::default();
        for (table, rows) in tables.into_iter().zip(answers) {
            for row in rows {
                let entry = entry(&row, table.kind, false).map_err(unreadable)?;
                found.insert((table.name, entry.key.clone()), entry);
            }
        }
        let one = |key: &Key| found.get(&(key.table().name, KeyBytes::from(key.bytes()))).cloned();
        Ok(keys.iter().map(one).collect())
    }

    pub(super) async fn scan(
        &self,
        ranges: &[Range],
        limit: usize,
        direction: Direction,
        keys_only: bool,
    ) -> Result<Vec<Vec<Entry>>, Unavailable> {
        for range in ranges {
            self.require(range.table())?;
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let spans: Vec<Option<Span>> = ranges.iter().map(|range| range.span(direction)).collect();
        let asks = || {
            let ask = |(range, span): (&Range, &Option<Span>)| {
                let Span { low, high } = span.clone()?;
                let form = Form::Scan { direction, keys_only, to_end: high.is_none() };
                let mut params: Vec<Param<'_>> = vec![Box::new(low.to_vec()), Box::new(limit)];
                params.extend(high.map(|high| -> Param<'_> { Box::new(high.to_vec()) }));
                Some(Ask { table: range.table(), form, params })
            };
            ranges.iter().zip(&spans).filter_map(ask).collect()
        };
        let mut answers = self.snapshot(asks).await?.into_iter();
        let list = |(range, span): (&Range, &Option<Span>)| {
            let rows = if span.is_some() { answers.next() } else { None };
            let rows = rows.unwrap_or_default();
            let entry = |row: &Row| entry(row, range.table().kind, keys_only).map_err(unreadable);
            rows.iter().map(entry).collect()
        };
        ranges.iter().zip(&spans).map(list).collect()
    }

    fn require(&self, table: &Table) -> Result<(), Unavailable> {
        let unknown = || Unavailable::new(format!("unknown table {}", table.name));
        self.knows(table).then_some(()).ok_or_else(unknown)
    }

    /// Runs the statements of a call on one snapshot and returns their rows.
    async fn snapshot<'a>(
        &self,
        asks: impl Fn() -> Vec<Ask<'a>>,
    ) -> Result<Vec<Vec<Row>>, Unavailable> {
        let _place = self.places.acquire().await.map_err(|_| closed())?;
        let mut tries = 0;
        loop {
            tries += 1;
            let asks = asks();
            if asks.is_empty() {
                return Ok(Vec::new());
            }
            let attempt = tokio::time::timeout(READ_TIMEOUT, self.attempt(asks)).await;
            match attempt {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(Failed::Connection(_))) if tries < TRIES_MAX => {}
                Ok(Err(Failed::Connection(cause))) => return Err(unreadable(cause)),
                Ok(Err(Failed::For(unavailable))) => return Err(unavailable),
                Err(_) => {
                    // The other connections lead to the same silent server.
                    self.idle().clear();
                    return Err(Unavailable::new("the database does not answer"));
                }
            }
        }
    }

    async fn attempt(&self, asks: Vec<Ask<'_>>) -> Result<Vec<Vec<Row>>, Failed> {
        let mut lent = Lent { readers: self, session: Some(self.session().await?) };
        let answers = match &lent.session {
            Some(session) => read(session, asks).await,
            None => Ok(Vec::new()),
        };
        if answers.is_err() {
            lent.session = None;
        }
        Ok(answers?)
    }

    async fn session(&self) -> Result<Session, Failed> {
        loop {
            let idle = self.idle().pop();
            match idle {
                Some(session) if session.is_closed() => {}
                Some(session) => return Ok(session),
                None => return self.connector.connect().await.map_err(Failed::For),
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(session: &Session, asks: Vec<Ask<'_>>) -> Result<Vec<Vec<Row>>, Error> {
    let mut statements = Vec::with_capacity(asks.len());
    for ask in &asks {
        statements.push(session.statement(ask.table, ask.form).await?);
    }
    let is_single = asks.len() == 1;
    let mut pipeline = Pipeline::new(session);
    if !is_single {
        pipeline.command(BEGIN);
    }
    for (statement, ask) in statements.into_iter().zip(asks) {
        pipeline.query(statement, ask.params);
    }
    if !is_single {
        pipeline.command("COMMIT");
    }
    let mut answers = pipeline.run().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    if !is_single {
        answers.remove(0);
        answers.pop();
    }
    Ok(answers)
}

pub(super) fn entry(row: &Row, kind: Kind, keys_only: bool) -> Result<Entry, Error> {
    let key = KeyBytes::from(session::bytes(row, 0)?);
    let (value, ver) = match kind {
        Kind::Record | Kind::Index => {
            let value = if keys_only { &[] } else { session::bytes(row, 2)? };
            (Bytes::copy_from_slice(value), session::version(row, 1)?)
        }
        Kind::Counter => {
            let sum: i64 = row.try_get::<_, Option<i64>>(1)?.unwrap_or(0);
            (Bytes::copy_from_slice(&sum.to_be_bytes()), Version::default())
        }
        Kind::Home => {
            let home = session::home(row)?;
            (Bytes::copy_from_slice(&home.to_bytes()), home.version())
        }
    };
    let value = if keys_only { Bytes::new() } else { value };
    Ok(Entry { key, value, ver })
}
