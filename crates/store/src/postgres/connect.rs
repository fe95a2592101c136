//! Connections: how they are made, checked and set up, and how the engine holds back from a
//! database that is away.
//!
//! Invariants: every connection syncs its commits, on a server that syncs; no request outlives its
//! time-out on the server; a connection that is dropped is closed at once, whatever it waits for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, NoTls};

use crate::engine::Unavailable;
use crate::postgres::session::Session;
use crate::postgres::tls::Tls;
use crate::postgres::{Config, OpenError};

/// The oldest server whose behaviour the engine was tested with.
const SERVER_VERSION_MIN: i32 = 140_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a peer may leave sent bytes unacknowledged.
const PEER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bounds of the pause after a failed attempt, in which requests fail at once.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The settings of every session. The time-outs free the homes of a node that stands still. Every
/// statement goes by key, so a plan that is made once and walks the index is right for all sizes
/// of a table, also for one that was empty when the plan was made.
const SETTINGS: &str = "
    SET synchronous_commit = on;
    SET statement_timeout = '5s';
    SET lock_timeout = '3s';
    SET idle_in_transaction_session_timeout = '4s';
    SET default_transaction_isolation = 'read committed';
    SET default_transaction_read_only = off;
    SET client_min_messages = warning;
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_bitmapscan = off;
    SET enable_sort = off;
    SET jit = off;";

const FACTS: &str = "
    SELECT current_setting('server_version_num')::int4, current_setting('fsync'),
        current_setting('synchronous_commit'), current_setting('server_encoding'),
        pg_is_in_recovery()";

/// Makes connections.
pub(super) struct Connector {
    config: tokio_postgres::Config,
    tls: Option<Tls>,
    pause: Mutex<Pause>,
}

/// Holds back attempts after one that failed.
struct Pause {
    until: Option<Instant>,
    length: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Driver(#[from] tokio_postgres::Error),
    #[error("{0}")]
    Refused(String),
    #[error("the last attempt has just failed")]
    Paused,
    #[error("the database does not answer")]
    Silent,
}

impl Connector {
    /// Reads a configuration; connects to nothing yet.
    pub(super) fn new(config: &Config) -> Result<Connector, OpenError> {
        let tls = Tls::load(config)?;
        let mut driver: tokio_postgres::Config = config.url.parse().map_err(OpenError::Url)?;
        if tls.is_some() {
            driver.ssl_mode(SslMode::Require);
        } else if driver.get_ssl_mode() == SslMode::Require {
            return Err(OpenError::Setting("TLS to the database needs an authority file"));
        }
        if driver.get_application_name().is_none() {
            driver.application_name("campanile");
        }
        if driver.get_connect_timeout().is_none() {
            driver.connect_timeout(CONNECT_TIMEOUT);
        }
        driver.tcp_user_timeout(PEER_TIMEOUT);
        // Of several hosts, the one that takes writes.
        driver.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let pause = Mutex::new(Pause { until: None, length: PAUSE_MIN });
        Ok(Connector { config: driver, tls, pause })
    }

    /// Makes a connection, or fails at once while the last failure is recent.
    pub(super) async fn connect(&self) -> Result<Session, Unavailable> {
        let away = |cause| Unavailable::caused("the database cannot be reached", cause);
        if self.pause().until.is_some_and(|until| Instant::now() < until) {
            return Err(away(ConnectError::Paused));
        }
        let session = self.try_connect().await;
        let mut pause = self.pause();
        match &session {
            Ok(_) => *pause = Pause { until: None, length: PAUSE_MIN },
            Err(_) => {
                pause.until = Some(Instant::now() + pause.length);
                pause.length = (pause.length * 2).min(PAUSE_MAX);
            }
        }
        drop(pause);
        session.map_err(away)
    }

    /// Makes a connection and checks what it leads to.
    pub(super) async fn try_connect(&self) -> Result<Session, ConnectError> {
        let attempt = tokio::time::timeout(CONNECT_TIMEOUT + PEER_TIMEOUT, async {
            let (client, task) = self.dial().await?;
            // Made first, so that a failure below closes the connection too.
            let session = Session::new(client, task);
            session.client().batch_execute(SETTINGS).await?;
            let row = session.client().query_one(FACTS, &[]).await?;
            let facts = Facts {
                version: row.try_get(0)?,
                fsync: row.try_get(1)?,
                synchronous_commit: row.try_get(2)?,
                encoding: row.try_get(3)?,
                is_standby: row.try_get(4)?,
            };
            facts.defect().map_or(Ok(session), |defect| Err(ConnectError::Refused(defect)))
        });
        attempt.await.unwrap_or(Err(ConnectError::Silent))
    }

    async fn dial(&self) -> Result<(Client, AbortHandle), tokio_postgres::Error> {
        // What ends a connection is told to its requests.
        match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                let task = tokio::spawn(async { connection.await.unwrap_or_default() });
                Ok((client, task.abort_handle()))
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                let task = tokio::spawn(async { connection.await.unwrap_or_default() });
                Ok((client, task.abort_handle()))
            }
        }
    }

    fn pause(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server says of itself.
struct Facts {
    version: i32,
    fsync: String,
    synchronous_commit: String,
    encoding: String,
    is_standby: bool,
}

impl Facts {
    /// Finds why the store must not live there.
    fn defect(&self) -> Option<String> {
        if self.version < SERVER_VERSION_MIN {
            let (found, needed) = (self.version / 10_000, SERVER_VERSION_MIN / 10_000);
            return Some(format!("PostgreSQL {found} is too old, {needed} or later is needed"));
        }
        if self.fsync != "on" {
            return Some("the server runs with fsync = off and may lose commits".into());
        }
        if self.synchronous_commit != "on" {
            let found = &self.synchronous_commit;
            return Some(format!("synchronous_commit cannot be set, it is {found}"));
        }
        if self.encoding != "UTF8" {
            return Some(format!("the database has the encoding {}, not UTF8", self.encoding));
        }
        self.is_standby.then(|| "the server is a standby and takes no writes".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(change: impl FnOnce(&mut Facts)) -> Option<String> {
        let mut facts = Facts {
            version: SERVER_VERSION_MIN,
            fsync: "on".into(),
            synchronous_commit: "on".into(),
            encoding: "UTF8".into(),
            is_standby: false,
        };
        change(&mut facts);
        facts.defect()
    }

    #[test]
    fn server_that_could_lose_commits_is_refused() {
        assert_eq!(facts(|_| {}), None);
        assert!(facts(|facts| facts.fsync = "off".into()).is_some());
        assert!(facts(|facts| facts.synchronous_commit = "off".into()).is_some());
        assert!(facts(|facts| facts.synchronous_commit = "local".into()).is_some());
        assert!(facts(|facts| facts.is_standby = true).is_some());
    }

    #[test]
    fn server_that_is_too_old_or_of_another_encoding_is_refused() {
        assert!(facts(|facts| facts.version -= 1).is_some_and(|text| text.contains("too old")));
        assert!(facts(|facts| facts.encoding = "SQL_ASCII".into()).is_some());
    }

    #[tokio::test]
    async fn attempts_pause_after_a_failure() {
        // Nothing listens on the discard port of loopback.
        let config = Config::new("postgres://nobody@127.0.0.1:9/none");
        let connector = Connector::new(&config).expect("is well formed");
        assert!(connector.connect().await.is_err());
        let again = connector.connect().await.err().expect("is away");
        let cause = std::error::Error::source(&again).map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("the last attempt has just failed"));
    }
}
