//! The nodes that share a store: who is alive, and what each has committed lately.
//!
//! A node that lives renews its lease by the database's clock, so that no node's own clock matters.
//! One connection, used by one caller at a time; what fails is asked again by the caller. Invariant:
//! of each lane the last row stays, so that a node that starts learns where the numbers are.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::{Error, Row};

use crate::engine::{GroupNumber, Unavailable};
use crate::id::Uid;
use crate::postgres::connect::Connector;
use crate::postgres::group_row::{self, GroupRow};
use crate::postgres::schema::HOLD;
use crate::postgres::session::{self, Session};
use crate::postgres::{Config, LANE_COUNT, OpenError};

/// How long one call may take; less than a lease.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

const RENEW: &str = "
    INSERT INTO cluster_node (id, lease_until)
    VALUES ($1, clock_timestamp() + $2::int8 * interval '1 millisecond')
    ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until";
const LIST: &str = "SELECT id, lease_until > clock_timestamp() FROM cluster_node ORDER BY id";
const LAST: &str = "
    SELECT found.k FROM cluster_node AS node
    CROSS JOIN unnest($1::bytea[], $2::bytea[]) AS lane (low, high)
    CROSS JOIN LATERAL
        (SELECT k FROM commit_group WHERE k >= node.id || lane.low AND k < node.id || lane.high
        ORDER BY k DESC LIMIT 1) AS found";
/// How long a transaction of a node may be open: its locks, its silence and its statements have limits
/// that are less together, if its COMMIT ends. Who is open for longer is not one of ours.
const OPEN_MS_MAX: i64 = 20_000;

/// Whoever writes holds a lock of `home` from before it draws its stamps. One that waits in a statement
/// that begins with `HOLD` has none yet.
const OPEN_MS: &str = "
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - activity.xact_start)) * 1000, 0)::int8
    FROM pg_locks AS held JOIN pg_stat_activity AS activity ON activity.pid = held.pid
    WHERE held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND held.relation = 'home'::regclass AND held.granted
        AND held.mode IN ('RowShareLock', 'RowExclusiveLock')
        AND (activity.wait_event_type IS DISTINCT FROM 'Lock' OR NOT starts_with(activity.query, $1))
        AND activity.xact_start > clock_timestamp() - $2::int8 * interval '1 millisecond'";
const AFTER: &str = "
    SELECT found.k, found.v FROM unnest($1::bytea[], $2::bytea[]) AS lane (low, high)
    CROSS JOIN LATERAL
        (SELECT k, v FROM commit_group WHERE k >= low AND k < high ORDER BY k LIMIT $3) AS found";
const FORGET: &str = "
    DELETE FROM commit_group USING unnest($1::bytea[], $2::bytea[]) AS lane (low, high)
    WHERE k >= low AND k < high";
const LONG_DEAD: &str = "
    SELECT id FROM cluster_node
    WHERE lease_until < clock_timestamp() - $1::int8 * interval '1 millisecond'";
const FORGET_NODE: &str = "DELETE FROM commit_group WHERE k >= $1 AND k < $2";
const REMOVE_NODE: &str = "
    DELETE FROM cluster_node
    WHERE lease_until < clock_timestamp() - $1::int8 * interval '1 millisecond'";

/// A node and whether its lease holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The node.
    pub node: Uid,
    /// Whether it is taken for alive.
    pub is_live: bool,
}

/// How far the nodes of a store have come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The last group of every lane that has any, of all nodes that are known.
    pub last: Vec<(Uid, GroupNumber)>,
    /// For how long the oldest transaction has been open that may still commit what it stamped at
    /// its beginning.
    pub open_for: Duration,
}

/// What the nodes of a store know of each other through the database.
pub struct Nodes {
    connector: Arc<Connector>,
    session: Mutex<Option<Session>>,
}

impl Nodes {
    /// Reads the configuration; connects with the first call. The tables are the engine's, which is
    /// opened first.
    pub fn new(config: &Config) -> Result<Nodes, OpenError> {
        Ok(Nodes { connector: Arc::new(Connector::new(config)?), session: Mutex::default() })
    }

    /// Renews a lease, from now on by the database's clock, and returns all that are known. A lease
    /// of no time ends it.
    pub async fn renew(&self, node: Uid, lease: Duration) -> Result<Vec<Lease>, Unavailable> {
        let lease_ms = ms(lease);
        self.call(async |session| {
            let client = session.client();
            client.execute(RENEW, &[&node.0.as_slice(), &lease_ms]).await?;
            client.query(LIST, &[]).await?.iter().map(lease_of).collect()
        })
        .await
    }

    /// Tells how far all nodes have come: whatever was stamped more than `open_for` before this is
    /// asked is committed, if it ever will be, and is among the last groups or before them.
    pub async fn progress(&self) -> Result<Progress, Unavailable> {
        let lanes = 0..u8::try_from(LANE_COUNT).unwrap_or(u8::MAX);
        let bounds = |lane| (vec![lane], [&[lane][..], &[u8::MAX; 8]].concat());
        let (low, high): (Vec<Vec<u8>>, Vec<Vec<u8>>) = lanes.map(bounds).unzip();
        let answers = self.call(async |session| {
            let client = session.client();
            // In this order: what ends between the two questions is in the second answer.
            let open_ms: i64 =
                client.query_one(OPEN_MS, &[&HOLD, &OPEN_MS_MAX]).await?.try_get(0)?;
            Ok((open_ms, client.query(LAST, &[&low, &high]).await?))
        });
        let (open_ms, rows) = answers.await?;
        let mut last = Vec::new();
        for row in rows {
            let key = session::bytes(&row, 0).map_err(unreadable)?;
            let node = key.first_chunk().map(|node| Uid(*node));
            last.extend(node.zip(group_row::group(key)));
        }
        let open_for = Duration::from_millis(u64::try_from(open_ms).unwrap_or(0));
        Ok(Progress { last, open_for })
    }

    /// Returns at most `limit` rows of each lane, those after the given groups.
    pub async fn groups_after(
        &self,
        node: Uid,
        after: &[GroupNumber],
        limit: usize,
    ) -> Result<Vec<GroupRow>, Unavailable> {
        let from = |group: &GroupNumber| GroupNumber { number: group.number + 1, ..*group };
        let (low, high): (Vec<Vec<u8>>, Vec<Vec<u8>>) =
            after.iter().map(|group| bounds(node, from(group), u64::MAX)).unzip();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows =
            self.call(async |session| session.client().query(AFTER, &[&low, &high, &limit]).await);
        let mut groups = Vec::new();
        for row in rows.await? {
            let key = session::bytes(&row, 0).map_err(unreadable)?;
            let value = session::bytes(&row, 1).map_err(unreadable)?;
            let group = GroupRow::read(key, value);
            groups.push(group.ok_or_else(|| Unavailable::new("a row of a group is unreadable"))?);
        }
        Ok(groups)
    }

    /// Removes the rows of a node's lanes before the given groups, which were told long ago.
    pub async fn forget_before(&self, node: Uid, first: &[GroupNumber]) -> Result<(), Unavailable> {
        let (low, high): (Vec<Vec<u8>>, Vec<Vec<u8>>) = first
            .iter()
            .map(|group| bounds(node, GroupNumber { number: 0, ..*group }, group.number))
            .unzip();
        self.call(async |session| session.client().execute(FORGET, &[&low, &high]).await).await?;
        Ok(())
    }

    /// Removes what nodes have left whose leases ended `groups_after` ago, and after `node_after`
    /// the nodes themselves.
    pub async fn sweep(
        &self,
        groups_after: Duration,
        node_after: Duration,
    ) -> Result<(), Unavailable> {
        let (groups_ms, node_ms) = (ms(groups_after), ms(node_after));
        self.call(async |session| {
            let client = session.client();
            for row in client.query(LONG_DEAD, &[&groups_ms]).await? {
                let low = session::bytes(&row, 0)?;
                let high = [low, &[u8::MAX; 10]].concat();
                client.execute(FORGET_NODE, &[&low, &high]).await?;
            }
            client.execute(REMOVE_NODE, &[&node_ms]).await
        })
        .await?;
        Ok(())
    }

    /// Lends the connection, made anew where it is gone.
    async fn call<T>(
        &self,
        ask: impl AsyncFnOnce(&Session) -> Result<T, Error>,
    ) -> Result<T, Unavailable> {
        let mut place = self.session.lock().await;
        let session = match place.take().filter(|session| !session.is_closed()) {
            Some(session) => session,
            None => self.connector.connect().await?,
        };
        let answer = timeout(CALL_TIMEOUT, ask(&session)).await;
        let answer = answer.map_err(|_| Unavailable::new("the database does not answer"))?;
        // One that failed is closed: the next call shows whether that lasts.
        let answer = answer.map_err(unreadable)?;
        *place = Some(session);
        Ok(answer)
    }
}

/// The keys of a lane's groups from one on and before a number.
fn bounds(node: Uid, from: GroupNumber, before: u64) -> (Vec<u8>, Vec<u8>) {
    let high = group_row::key(node, GroupNumber { number: before, ..from });
    (group_row::key(node, from).bytes().to_vec(), high.bytes().to_vec())
}

fn lease_of(row: &Row) -> Result<Lease, Error> {
    let id = session::bytes(row, 0)?.try_into().unwrap_or_default();
    Ok(Lease { node: Uid(id), is_live: row.try_get(1)? })
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn unreadable(cause: Error) -> Unavailable {
    Unavailable::caused("the nodes of the database cannot be read", cause)
}
