//! The tables, views and format number in the database, and the SQL of each table.
//!
//! Tables are made when missing and never altered. Invariant: tables of a newer format, or that
//! another program made, are refused before anything is changed.

use tokio_postgres::error::SqlState;

use crate::postgres::OpenError;
use crate::postgres::session::Session;
use crate::range::Direction;
use crate::table::{Kind, Table};

/// The number of the format that this release writes.
pub(crate) const FORMAT: i32 = 1;
/// Holds the format number, and is locked while a node makes what is missing.
const FORMAT_TABLE: &str = "store_format";
/// Two nodes may meet while they make the first table.
const CREATE_TRIES_MAX: usize = 5;

/// The last group of each committer lane: by it the outcome of a lost COMMIT is found out.
/// The key is the lane's own uid, the version is the group's.
pub(super) static LANE: Table = Table { name: "commit_lane", kind: Kind::Index, columns: &[] };

/// The groups that other nodes are told of: node, lane, number. The version is the group's, so that such
/// a row also tells the outcome of a lost COMMIT; the value is what `group_row` says.
pub(super) static COMMIT_GROUP: Table =
    Table { name: "commit_group", kind: Kind::Index, columns: &[] };

/// The nodes that share the store and until when each is taken for alive, by the server's clock.
const NODE_TABLE: &str = "CREATE TABLE IF NOT EXISTS cluster_node \
                          (id bytea PRIMARY KEY, lease_until timestamptz NOT NULL);\n";

/// Removes the rows of lanes that ended long ago; their value is the time of the last group.
pub(super) const LANE_CLEAN: &str = "DELETE FROM commit_lane WHERE v < $1";

/// What a statement does with the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Returns the rows of some keys.
    Get,
    /// Returns the versions of some keys.
    Judge,
    /// Returns and locks the rows of some keys, and makes the missing ones: a home without
    /// commits, a counter without a sum.
    Lock,
    /// Writes rows; of counters, adds to them.
    Put,
    /// Removes the rows of some keys.
    Delete,
    /// Returns a range.
    Scan { direction: Direction, keys_only: bool, to_end: bool },
}

const HOME_COLUMNS: &str = "k, seq, last_ms, last_message_ms, last_event_seq";

/// Returns the SQL of a form. Rows come and go as arrays, sorted by the caller.
pub(super) fn sql(table: &Table, form: Form) -> String {
    let name = quoted(table.name);
    let all = match table.kind {
        Kind::Record | Kind::Index => "k, ver, v",
        Kind::Counter => "k, n",
        Kind::Home => HOME_COLUMNS,
    };
    match form {
        Form::Get => format!("SELECT {all} FROM {name} WHERE k = ANY($1)"),
        Form::Judge => format!("SELECT k, ver FROM {name} WHERE k = ANY($1)"),
        Form::Delete => format!("DELETE FROM {name} WHERE k = ANY($1)"),
        Form::Lock => lock(&name, table.kind),
        Form::Put => put(&name, table.kind),
        Form::Scan { direction, keys_only, to_end } => {
            let columns = match table.kind {
                Kind::Record | Kind::Index if keys_only => "k, ver",
                _ => all,
            };
            let end = if to_end { "" } else { "AND k < $3 " };
            let order = if direction == Direction::Forward { "ASC" } else { "DESC" };
            format!("SELECT {columns} FROM {name} WHERE k >= $1 {end}ORDER BY k {order} LIMIT $2")
        }
    }
}

/// What the statements begin with that lock what a group needs, by which others know that its stamps
/// are not drawn yet.
pub(super) const HOLD: &str = "/* hold */";

fn lock(name: &str, kind: Kind) -> String {
    match kind {
        Kind::Home => format!(
            "{HOLD} INSERT INTO {name} AS home (k, seq, last_ms, last_event_seq) \
             SELECT k, 0, 0, 0 FROM unnest($1::bytea[]) AS named (k) \
             ON CONFLICT (k) DO UPDATE SET seq = home.seq RETURNING {HOME_COLUMNS}"
        ),
        // Only counters have rows besides that are locked before they are judged.
        _ => format!(
            "{HOLD} INSERT INTO {name} AS counter (k, n) \
             SELECT k, NULL FROM unnest($1::bytea[]) AS named (k) \
             ON CONFLICT (k) DO UPDATE SET n = counter.n RETURNING k, n"
        ),
    }
}

fn put(name: &str, kind: Kind) -> String {
    match kind {
        Kind::Record | Kind::Index => format!(
            "INSERT INTO {name} (k, ver, v) \
             SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[]) \
             ON CONFLICT (k) DO UPDATE SET ver = excluded.ver, v = excluded.v"
        ),
        Kind::Counter => format!(
            "INSERT INTO {name} AS counter (k, n) SELECT * FROM unnest($1::bytea[], $2::int8[]) \
             ON CONFLICT (k) DO UPDATE SET n = coalesce(counter.n, 0) + excluded.n"
        ),
        Kind::Home => format!(
            "INSERT INTO {name} ({HOME_COLUMNS}) \
             SELECT * FROM unnest($1::bytea[], $2::int8[], $3::int8[], $4::int8[], $5::int8[]) \
             ON CONFLICT (k) DO UPDATE SET seq = excluded.seq, last_ms = excluded.last_ms, \
             last_message_ms = excluded.last_message_ms, \
             last_event_seq = excluded.last_event_seq"
        ),
    }
}

/// Makes what the database lacks.
pub(super) async fn create(session: &Session, tables: &[&Table]) -> Result<(), OpenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let outcome = try_create(session, tables).await;
        let met_another = match &outcome {
            Err(OpenError::Database(cause)) => cause.code().is_some_and(|code| {
                [
                    SqlState::UNIQUE_VIOLATION,
                    SqlState::DUPLICATE_TABLE,
                    SqlState::T_R_DEADLOCK_DETECTED,
                    SqlState::LOCK_NOT_AVAILABLE,
                ]
                .contains(code)
            }),
            _ => false,
        };
        if outcome.is_err() {
            session.client().batch_execute("ROLLBACK").await.map_err(OpenError::Database)?;
        }
        if !met_another || tries == CREATE_TRIES_MAX {
            return outcome.map_err(busy);
        }
    }
}

async fn try_create(session: &Session, tables: &[&Table]) -> Result<(), OpenError> {
    let client = session.client();
    client.batch_execute("BEGIN").await.map_err(OpenError::Database)?;
    is_there(session, tables).await?;
    let begin = format!(
        "CREATE TABLE IF NOT EXISTS {FORMAT_TABLE} (number int4 NOT NULL); \
         LOCK TABLE {FORMAT_TABLE} IN ACCESS EXCLUSIVE MODE; \
         INSERT INTO {FORMAT_TABLE} \
         SELECT {FORMAT} WHERE NOT EXISTS (SELECT 1 FROM {FORMAT_TABLE})"
    );
    client.batch_execute(&begin).await.map_err(OpenError::Database)?;
    let newest = format!("SELECT max(number) FROM {FORMAT_TABLE}");
    let row = client.query_one(&newest, &[]).await.map_err(OpenError::Database)?;
    let found: i32 = row.try_get(0).map_err(OpenError::Database)?;
    if found > FORMAT {
        return Err(OpenError::Newer { found, known: FORMAT });
    }
    let statements = tables_sql(tables) + "COMMIT";
    client.batch_execute(&statements).await.map_err(OpenError::Database)
}

/// Tells a lock that was held for as long as all tries took.
fn busy(error: OpenError) -> OpenError {
    match error {
        OpenError::Database(cause) if cause.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            OpenError::Busy
        }
        error => error,
    }
}

/// Tells whether there is a store; tables of our names that are no store's are refused.
pub(super) async fn is_there(session: &Session, tables: &[&Table]) -> Result<bool, OpenError> {
    let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
    let present = "SELECT count(*) FILTER (WHERE relname = $1), \
                   count(*) FILTER (WHERE relname = ANY($2)) FROM pg_class \
                   WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace";
    let row = session.client().query_one(present, &[&FORMAT_TABLE, &names]).await;
    let row = row.map_err(OpenError::Database)?;
    let ours: i64 = row.try_get(0).map_err(OpenError::Database)?;
    let of_our_names: i64 = row.try_get(1).map_err(OpenError::Database)?;
    if ours == 0 && of_our_names > 0 {
        return Err(OpenError::Foreign);
    }
    Ok(ours > 0)
}

/// Returns the SQL that begins a transaction and makes everything in it, where there is nothing.
pub(super) fn create_all(tables: &[&Table]) -> String {
    let format = format!(
        "BEGIN; CREATE TABLE {FORMAT_TABLE} (number int4 NOT NULL); \
         INSERT INTO {FORMAT_TABLE} VALUES ({FORMAT});\n"
    );
    format + &tables_sql(tables)
}

/// Returns the SQL that takes rows in the binary form of COPY.
pub(super) fn copy(table: &Table) -> String {
    let columns = match table.kind {
        Kind::Record | Kind::Index => "k, ver, v",
        Kind::Counter => "k, n",
        Kind::Home => HOME_COLUMNS,
    };
    format!("COPY {} ({columns}) FROM STDIN BINARY", quoted(table.name))
}

fn tables_sql(tables: &[&Table]) -> String {
    let mut statements: String = tables.iter().map(|table| table_sql(table)).collect();
    statements.push_str(NODE_TABLE);
    statements.extend(tables.iter().filter(|table| table.kind == Kind::Record).map(|t| view(t)));
    statements
}

/// Rows that every commit of a home or counter writes anew find room beside their old place.
fn table_sql(table: &Table) -> String {
    let (columns, room) = match table.kind {
        Kind::Record | Kind::Index => ("ver bytea NOT NULL, v bytea NOT NULL", ""),
        // Without a sum only while a group holds it.
        Kind::Counter => ("n int8", " WITH (fillfactor = 50)"),
        Kind::Home => (
            "seq int8 NOT NULL, last_ms int8 NOT NULL, last_message_ms int8, \
             last_event_seq int8 NOT NULL",
            " WITH (fillfactor = 50)",
        ),
    };
    let name = quoted(table.name);
    format!("CREATE TABLE IF NOT EXISTS {name} (k bytea PRIMARY KEY, {columns}){room};\n")
}

/// Returns the SQL that makes a table's view anew: its columns may be another release's.
fn view(table: &Table) -> String {
    let view = quoted(&format!("{}_view", table.name));
    let drop = format!("DROP VIEW IF EXISTS {view};\n");
    if table.columns.is_empty() {
        return drop;
    }
    let column = |member: &&str| {
        format!(", json ->> '{}' AS {}", member.replace('\'', "''"), quoted(member))
    };
    let columns: String = table.columns.iter().map(column).collect();
    let name = quoted(table.name);
    // The first byte of a value names its format. The server cannot show U+0000, which JSON
    // writes as an escape: the view shows the replacement character in its place.
    format!(
        "{drop}CREATE VIEW {view} AS SELECT upper(encode(k, 'hex')) AS k{columns} FROM (SELECT k, \
         replace(convert_from(substr(v, 2), 'UTF8'), '\\u0000', '\\ufffd')::json AS json \
         FROM {name}) AS decoded;\n"
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
