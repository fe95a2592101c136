//! The two round trips of a group: hold and load what its judgement needs, write what it decided.
//!
//! Locks are taken in one order on every node: homes, then counters, then the other tables, each
//! table by name and its rows by key. Holding a missing home or counter makes its row, which goes
//! again with the group if nothing was written to it, so no other transaction ever sees it.
//! READ COMMITTED is meant: each statement of the first trip sees what was committed when the
//! locks before it were granted.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Error, Row, Statement};

use crate::engine::{Batch, HomeRow};
use crate::group::{CounterWrite, Loaded, Needs, RowWrite, WriteSet};
use crate::id::Uid;
use crate::key::{Key, Parts};
use crate::postgres::schema::Form;
use crate::postgres::session::{self, Param, Pipeline, Session};
use crate::table::{HOME, Kind, Table};

pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// What a transaction has found and holds.
pub(super) struct Held {
    pub(super) loaded: Loaded,
    /// Rows that were made to be held.
    homes_made: BTreeSet<Uid>,
    counters_made: BTreeSet<Key>,
}

/// A group of keys of one table, in order.
type Keys = BTreeMap<&'static str, (&'static Table, Vec<Vec<u8>>)>;

fn add_key(keys: &mut Keys, table: &'static Table, key: &[u8]) {
    keys.entry(table.name).or_insert_with(|| (table, Vec::new())).1.push(key.to_vec());
}

/// Lists the counters that the group must hold: all that it changes if it bounds any, because
/// those that are not bounded must not be locked after a bounded one that is greater. One that only
/// must not have fallen is held too.
fn counters(group: &[Batch], needs: &Needs) -> BTreeSet<Key> {
    if needs.counters.is_empty() {
        return BTreeSet::new();
    }
    let adds = group.iter().flat_map(|batch| batch.adds.iter().map(|add| &add.key));
    let deletes = group.iter().flat_map(|batch| &batch.deletes);
    let deletes = deletes.filter(|key| key.table().kind == Kind::Counter);
    adds.chain(deletes).chain(&needs.counters).cloned().collect()
}

/// Begins a transaction, locks the homes and counters of a group and loads what is judged.
pub(super) async fn hold(session: &Session, group: &[Batch], needs: &Needs) -> Result<Held, Error> {
    let (mut counter_keys, mut version_keys) = (Keys::new(), Keys::new());
    for key in counters(group, needs) {
        add_key(&mut counter_keys, key.table(), key.bytes());
    }
    for key in &needs.versions {
        add_key(&mut version_keys, key.table(), key.bytes());
    }
    let mut statements = vec![(&HOME, session.statement(&HOME, Form::Lock).await?)];
    let homes = needs.homes.iter().map(|uid| uid.0.to_vec()).collect();
    let mut keys: Vec<Vec<Vec<u8>>> = vec![homes];
    for (table, wanted) in counter_keys.into_values() {
        statements.push((table, session.statement(table, Form::Lock).await?));
        keys.push(wanted);
    }
    for (table, wanted) in version_keys.into_values() {
        statements.push((table, session.statement(table, Form::Judge).await?));
        keys.push(wanted);
    }
    let mut pipeline = Pipeline::new(session);
    pipeline.command(BEGIN);
    let tables: Vec<&'static Table> = statements.iter().map(|(table, _)| *table).collect();
    for ((_, statement), keys) in statements.into_iter().zip(keys) {
        pipeline.query(statement, vec![Box::new(keys)]);
    }
    let answers: Vec<Vec<Row>> = pipeline.run().await.into_iter().collect::<Result<_, _>>()?;
    let mut held = Held {
        loaded: Loaded::default(),
        homes_made: BTreeSet::new(),
        counters_made: BTreeSet::new(),
    };
    // The first answer is that of BEGIN.
    for (table, rows) in tables.into_iter().zip(answers.into_iter().skip(1)) {
        for row in rows {
            held.take(table, &row)?;
        }
    }
    Ok(held)
}

impl Held {
    fn take(&mut self, table: &'static Table, row: &Row) -> Result<(), Error> {
        let key = Key::new(table).raw(session::bytes(row, 0)?);
        match table.kind {
            Kind::Home => {
                let Some(uid) = Parts::new(key.bytes()).uid() else { return Ok(()) };
                let home = session::home(row)?;
                // A home that has commits counts from one.
                if home.seq == 0 {
                    self.homes_made.insert(uid);
                } else {
                    self.loaded.homes.insert(uid, home);
                }
            }
            Kind::Counter => match row.try_get(1)? {
                Some(sum) => drop(self.loaded.counters.insert(key, sum)),
                None => drop(self.counters_made.insert(key)),
            },
            Kind::Record | Kind::Index => {
                self.loaded.versions.insert(key, session::version(row, 1)?);
            }
        }
        Ok(())
    }

    /// Takes what was loaded, for the judgement.
    pub(super) fn take_loaded(&mut self) -> Loaded {
        std::mem::take(&mut self.loaded)
    }

    /// Lists the statements that carry out what was decided, in the order of the locks.
    fn writes(&self, writes: &WriteSet) -> Vec<Write> {
        let mut list = Vec::new();
        self.write_homes(&writes.homes, &mut list);
        self.write_counters(&writes.counters, &mut list);
        write_rows(&writes.rows, &mut list);
        list
    }

    fn write_homes(&self, homes: &BTreeMap<Uid, Option<HomeRow>>, list: &mut Vec<Write>) {
        // Stamps keep to 48 bits, so the greatest number is never met.
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let kept: Vec<(Vec<u8>, HomeRow)> =
            homes.iter().filter_map(|(uid, row)| Some((uid.0.to_vec(), (*row)?))).collect();
        let unused = self.homes_made.iter().filter(|uid| !homes.contains_key(uid));
        let gone = homes.iter().filter(|(_, row)| row.is_none()).map(|(uid, _)| uid);
        let gone: BTreeSet<Uid> = gone.chain(unused).copied().collect();
        delete(&HOME, gone.iter().map(|uid| uid.0.to_vec()).collect(), list);
        if !kept.is_empty() {
            let column = |read: fn(&HomeRow) -> u64| -> Vec<i64> {
                kept.iter().map(|(_, row)| signed(read(row))).collect()
            };
            let messages: Vec<Option<i64>> =
                kept.iter().map(|(_, row)| row.last_message_ms.map(signed)).collect();
            let (seqs, times) = (column(|row| row.seq), column(|row| row.last_ms));
            let events = column(|row| row.last_event_seq);
            let keys: Vec<Vec<u8>> = kept.into_iter().map(|(key, _)| key).collect();
            let params: Vec<Param<'static>> = vec![
                Box::new(keys),
                Box::new(seqs),
                Box::new(times),
                Box::new(messages),
                Box::new(events),
            ];
            list.push(Write { table: &HOME, form: Form::Put, params });
        }
    }

    fn write_counters(&self, counters: &BTreeMap<Key, CounterWrite>, list: &mut Vec<Write>) {
        type Sums = (Vec<Vec<u8>>, Vec<i64>);
        let mut by_table: BTreeMap<&str, (&'static Table, BTreeSet<Vec<u8>>, Sums)> =
            BTreeMap::new();
        let unused = self.counters_made.iter().filter(|key| !counters.contains_key(key));
        for key in unused {
            let place = by_table.entry(key.table().name);
            let (_, gone, _) =
                place.or_insert_with(|| (key.table(), BTreeSet::new(), Sums::default()));
            gone.insert(key.bytes().to_vec());
        }
        for (key, write) in counters {
            let place = by_table.entry(key.table().name);
            let (_, gone, (keys, deltas)) =
                place.or_insert_with(|| (key.table(), BTreeSet::new(), Sums::default()));
            if write.cleared {
                gone.insert(key.bytes().to_vec());
            }
            if let Some(delta) = write.delta {
                keys.push(key.bytes().to_vec());
                deltas.push(delta);
            }
        }
        for (table, gone, (keys, deltas)) in by_table.into_values() {
            delete(table, gone.into_iter().collect(), list);
            if !keys.is_empty() {
                let params: Vec<Param<'static>> = vec![Box::new(keys), Box::new(deltas)];
                list.push(Write { table, form: Form::Put, params });
            }
        }
    }

    /// Writes what was decided and sends COMMIT after it. The outcome holds only if all succeeded:
    /// a transaction of which a statement failed answers COMMIT with a rollback and no error.
    pub(super) async fn write(
        &self,
        session: &Session,
        writes: &WriteSet,
    ) -> Result<Vec<Result<Vec<Row>, Error>>, Error> {
        let list = self.writes(writes);
        let mut statements: Vec<Statement> = Vec::with_capacity(list.len());
        for write in &list {
            statements.push(session.statement(write.table, write.form).await?);
        }
        let mut pipeline = Pipeline::new(session);
        for (write, statement) in list.into_iter().zip(statements) {
            pipeline.query(statement, write.params);
        }
        pipeline.command("COMMIT");
        Ok(pipeline.run().await)
    }
}

/// One statement of the second trip.
struct Write {
    table: &'static Table,
    form: Form,
    params: Vec<Param<'static>>,
}

fn delete(table: &'static Table, keys: Vec<Vec<u8>>, list: &mut Vec<Write>) {
    if !keys.is_empty() {
        list.push(Write { table, form: Form::Delete, params: vec![Box::new(keys)] });
    }
}

fn write_rows(rows: &BTreeMap<Key, RowWrite>, list: &mut Vec<Write>) {
    // The map is sorted by table name, then key.
    let rows: Vec<(&Key, &RowWrite)> = rows.iter().collect();
    for of_table in rows.chunk_by(|(left, _), (right, _)| left.table().name == right.table().name) {
        let Some((first, _)) = of_table.first() else { continue };
        let table = first.table();
        let (mut gone, mut keys, mut vers, mut values) = (vec![], vec![], vec![], vec![]);
        for (key, write) in of_table {
            match write {
                RowWrite::Delete => gone.push(key.bytes().to_vec()),
                RowWrite::Put { value, ver } => {
                    keys.push(key.bytes().to_vec());
                    vers.push(ver.0.to_be_bytes().to_vec());
                    values.push(value.clone());
                }
            }
        }
        delete(table, gone, list);
        if !keys.is_empty() {
            let params: Vec<Param<'static>> =
                vec![Box::new(keys), Box::new(vers), Box::new(values)];
            list.push(Write { table, form: Form::Put, params });
        }
    }
}
