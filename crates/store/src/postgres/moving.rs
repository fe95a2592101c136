//! A shared database as the source or the target of a move.
//!
//! Invariants: a source is one read-only transaction, so nodes may write meanwhile; a target is one
//! transaction that makes the tables and fills them, so nobody sees a part of it, and a connection
//! that ends before its COMMIT leaves nothing.

use std::pin::pin;

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use crate::engine::{BoxFuture, Entry, Unavailable};
use crate::moving::{Page, Source, Target};
use crate::postgres::connect::Connector;
use crate::postgres::schema::{self, Form};
use crate::postgres::session::{Param, Pipeline, Session};
use crate::postgres::{Config, OpenError, reader};
use crate::range::{Direction, Range, Span};
use crate::table::{Kind, Table};

/// A move takes as long as it takes, and a reader of the file may pause.
const PATIENCE: &str = "
    SET statement_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;";

/// Opens the store in a database to read all of it; nothing when there is none.
pub fn export<'a>(
    config: &'a Config,
    tables: &'a [&'static Table],
) -> BoxFuture<'a, Result<Option<Box<dyn Source>>, OpenError>> {
    Box::pin(read(config, tables))
}

async fn read(
    config: &Config,
    tables: &[&'static Table],
) -> Result<Option<Box<dyn Source>>, OpenError> {
    let session = connect(config).await?;
    let made: Vec<&Table> = tables.iter().copied().chain([&schema::LANE]).collect();
    if !schema::is_there(&session, &made).await? {
        return Ok(None);
    }
    // Tables that this release added are read as empty ones.
    schema::create(&session, &made).await?;
    let begin = session.client().batch_execute(reader::BEGIN).await;
    begin.map_err(OpenError::Database)?;
    Ok(Some(Box::new(Reading { session })))
}

async fn connect(config: &Config) -> Result<Session, OpenError> {
    let session = Connector::new(config)?.try_connect().await?;
    session.client().batch_execute(PATIENCE).await.map_err(OpenError::Database)?;
    Ok(session)
}

struct Reading {
    session: Session,
}

impl Reading {
    async fn list(&self, range: &Range, limit: usize) -> Result<Vec<Entry>, tokio_postgres::Error> {
        let direction = Direction::Forward;
        let Some(Span { low, high }) = range.span(direction) else { return Ok(Vec::new()) };
        let form = Form::Scan { direction, keys_only: false, to_end: high.is_none() };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut params: Vec<Param<'_>> = vec![Box::new(low.to_vec()), Box::new(limit)];
        params.extend(high.map(|high| -> Param<'_> { Box::new(high.to_vec()) }));
        let statement = self.session.statement(range.table(), form).await?;
        let mut pipeline = Pipeline::new(&self.session);
        pipeline.query(statement, params);
        let mut entries = Vec::new();
        for rows in pipeline.run().await {
            for row in rows? {
                entries.push(reader::entry(&row, range.table().kind, false)?);
            }
        }
        Ok(entries)
    }
}

impl Source for Reading {
    fn rows<'a>(
        &'a mut self,
        range: &'a Range,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Entry>, Unavailable>> {
        Box::pin(async move {
            let rows = self.list(range, limit).await;
            rows.map_err(|cause| Unavailable::caused("the database cannot be read", cause))
        })
    }
}

/// Begins to make a store in a database that holds none.
pub fn import<'a>(
    config: &'a Config,
    tables: &'a [&'static Table],
) -> BoxFuture<'a, Result<Box<dyn Target>, OpenError>> {
    Box::pin(write(config, tables))
}

async fn write(config: &Config, tables: &[&'static Table]) -> Result<Box<dyn Target>, OpenError> {
    let session = connect(config).await?;
    let made: Vec<&Table> = tables.iter().copied().chain([&schema::LANE]).collect();
    if schema::is_there(&session, &made).await? {
        return Err(OpenError::NotEmpty);
    }
    let made = session.client().batch_execute(&schema::create_all(&made)).await;
    made.map_err(|cause| match cause.code() {
        // A node, or another import, was first.
        Some(&SqlState::DUPLICATE_TABLE | &SqlState::UNIQUE_VIOLATION) => OpenError::NotEmpty,
        Some(&SqlState::LOCK_NOT_AVAILABLE) => OpenError::Busy,
        _ => OpenError::Database(cause),
    })?;
    Ok(Box::new(Writing { session }))
}

struct Writing {
    session: Session,
}

impl Writing {
    async fn copy(&self, page: &Page) -> Result<(), tokio_postgres::Error> {
        let sink = self.session.client().copy_in(&schema::copy(page.table)).await?;
        let types: &[Type] = match page.table.kind {
            Kind::Record | Kind::Index => &[Type::BYTEA, Type::BYTEA, Type::BYTEA],
            Kind::Counter => &[Type::BYTEA, Type::INT8],
            Kind::Home => &[Type::BYTEA, Type::INT8, Type::INT8, Type::INT8, Type::INT8],
        };
        let mut writer = pin!(BinaryCopyInWriter::new(sink, types));
        // Stamps keep to 48 bits, so the greatest number is never met.
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for row in &page.rows {
            let key = &row.key[..];
            let values: Vec<Box<dyn ToSql + Sync + Send + '_>> = match page.table.kind {
                Kind::Record | Kind::Index => {
                    let ver = row.ver.0.to_be_bytes().to_vec();
                    vec![Box::new(key), Box::new(ver), Box::new(&row.value[..])]
                }
                Kind::Counter => vec![Box::new(key), Box::new(row.count())],
                Kind::Home => {
                    let home = row.home();
                    vec![
                        Box::new(key),
                        Box::new(signed(home.seq)),
                        Box::new(signed(home.last_ms)),
                        Box::new(home.last_message_ms.map(signed)),
                        Box::new(signed(home.last_event_seq)),
                    ]
                }
            };
            let values: Vec<&(dyn ToSql + Sync)> =
                values.iter().map(|value| &**value as &(dyn ToSql + Sync)).collect();
            writer.as_mut().write(&values).await?;
        }
        writer.finish().await.map(drop)
    }
}

impl Target for Writing {
    fn write(&mut self, page: Page) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async move {
            self.copy(&page).await.map_err(|cause| match cause.code() {
                Some(&SqlState::UNIQUE_VIOLATION) => {
                    let table = page.table.name;
                    Unavailable::new(format!(
                        "the file names one thing twice: two rows of {table} have the same key"
                    ))
                }
                _ => unwritable(cause),
            })
        })
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), Unavailable>> {
        Box::pin(
            async move { self.session.client().batch_execute("COMMIT").await.map_err(unwritable) },
        )
    }
}

fn unwritable(cause: tokio_postgres::Error) -> Unavailable {
    Unavailable::caused("the database cannot be written", cause)
}
