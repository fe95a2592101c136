//! One connection: its prepared statements, and requests that go out together.
//!
//! Invariant: all requests of a `Pipeline` are handed to the connection before any answer is
//! awaited, so a caller that goes away leaves no transaction open: its end is on the way already.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use tokio::task::AbortHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use crate::engine::HomeRow;
use crate::id::Version;
use crate::postgres::schema::{self, Form};
use crate::table::Table;

pub(super) struct Session {
    client: Client,
    /// As many as the tables have forms.
    statements: Mutex<HashMap<(&'static str, Form), Statement>>,
    task: AbortHandle,
}

impl Session {
    pub(super) fn new(client: Client, task: AbortHandle) -> Session {
        Session { client, statements: Mutex::default(), task }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Tells whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Returns a statement, prepared when first asked for.
    pub(super) async fn statement(
        &self,
        table: &'static Table,
        form: Form,
    ) -> Result<Statement, Error> {
        let place = (table.name, form);
        let known = self.lock().get(&place).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(&schema::sql(table, form)).await?;
        self.lock().insert(place, statement.clone());
        Ok(statement)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(&'static str, Form), Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A value that a statement takes.
pub(super) type Param<'a> = Box<dyn ToSql + Sync + Send + 'a>;

type Request<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>>;

/// Requests that are sent together and answered in their order.
pub(super) struct Pipeline<'a> {
    client: &'a Client,
    requests: Vec<Request<'a>>,
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(session: &'a Session) -> Pipeline<'a> {
        Pipeline { client: &session.client, requests: Vec::new() }
    }

    /// Appends a command without parameters or rows.
    pub(super) fn command(&mut self, sql: &'static str) {
        let client = self.client;
        self.requests.push(Box::pin(async move {
            client.batch_execute(sql).await?;
            Ok(Vec::new())
        }));
    }

    /// Appends a prepared statement.
    pub(super) fn query(&mut self, statement: Statement, params: Vec<Param<'a>>) {
        let client = self.client;
        self.requests.push(Box::pin(async move {
            let params: Vec<&(dyn ToSql + Sync)> =
                params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect();
            client.query(&statement, &params).await
        }));
    }

    /// Sends everything and returns the answers.
    pub(super) async fn run(mut self) -> Vec<Result<Vec<Row>, Error>> {
        let mut answers: Vec<_> = self.requests.iter().map(|_| None).collect();
        poll_fn(|cx| {
            let mut waits = false;
            for (request, answer) in self.requests.iter_mut().zip(&mut answers) {
                if answer.is_none() {
                    match request.as_mut().poll(cx) {
                        Poll::Ready(found) => *answer = Some(found),
                        Poll::Pending => waits = true,
                    }
                }
            }
            if waits { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        answers.into_iter().flatten().collect()
    }
}

/// Reads a column of bytes.
pub(super) fn bytes(row: &Row, column: usize) -> Result<&[u8], Error> {
    row.try_get(column)
}

/// Reads the version in a column; one of another length counts as none.
pub(super) fn version(row: &Row, column: usize) -> Result<Version, Error> {
    let bytes = bytes(row, column)?.try_into().unwrap_or_default();
    Ok(Version(u128::from_be_bytes(bytes)))
}

/// Reads the row of a home.
pub(super) fn home(row: &Row) -> Result<HomeRow, Error> {
    // The columns hold what the committer bound there, never a negative number.
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(HomeRow {
        seq: unsigned(row.try_get(1)?),
        last_ms: unsigned(row.try_get(2)?),
        last_message_ms: row.try_get::<_, Option<i64>>(3)?.map(unsigned),
        last_event_seq: unsigned(row.try_get(4)?),
    })
}
