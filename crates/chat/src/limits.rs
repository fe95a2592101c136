//! Every limit of the rules, with its unit and source, and the counters that quotas are judged by.
//!
//! Invariant: a count quota is a bounded add in the commit that creates the resource, so no number
//! of concurrent creates can pass it; the commit that removes the resource frees the place.

use store::{Key, Kind, Table, Txn, Uid};

mod quotas;

pub use quotas::{NamedQuota, QuotaError, Quotas};

/// Counters of what exists, keyed by owner and label.
pub(crate) static RESOURCE_COUNT: Table =
    Table { name: "resource_count", kind: Kind::Counter, columns: &[] };

/// The owner of what belongs to the account itself.
pub(crate) const ACCOUNT: Uid = Uid([0; 16]);

/// A count quota: the most that may exist below one owner.
pub(crate) struct Quota {
    /// The label in the counter's key; with dashes, the name by which the operator sets it.
    label: &'static str,
    /// The most that may exist where the operator says nothing; see `Cx::max`.
    pub(crate) max: i64,
    /// What stands in the refusal.
    pub(crate) noun: &'static str,
}

/// App instances of an account (service quotas page).
pub(crate) const APP_INSTANCES: Quota =
    Quota { label: "app_instances", max: 100, noun: "app instances in the account" };
/// Users of an app instance (service quotas page).
pub(crate) const APP_INSTANCE_USERS: Quota =
    Quota { label: "users", max: 100_000, noun: "users in the app instance" };
/// Bots of an app instance (undocumented; as many as admins).
pub(crate) const APP_INSTANCE_BOTS: Quota =
    Quota { label: "bots", max: 100, noun: "bots in the app instance" };
/// Admins of an app instance (service quotas page).
pub(crate) const APP_INSTANCE_ADMINS: Quota =
    Quota { label: "admins", max: 100, noun: "admins in the app instance" };
/// Channels of an app instance (service quotas page).
pub(crate) const CHANNELS: Quota =
    Quota { label: "channels", max: 10_000_000, noun: "channels in the app instance" };
/// Members of a channel, hidden ones included (service quotas page).
pub(crate) const CHANNEL_MEMBERSHIPS: Quota =
    Quota { label: "memberships", max: 10_000, noun: "memberships in the channel" };
/// Channels that one user is a member of (service quotas page).
pub(crate) const USER_MEMBERSHIPS: Quota =
    Quota { label: "user_memberships", max: 20_000, noun: "memberships of the user" };
/// Endpoints of a user (service quotas page).
pub(crate) const USER_ENDPOINTS: Quota =
    Quota { label: "endpoints", max: 10, noun: "endpoints of the user" };
/// Moderators of a channel (service quotas page).
pub(crate) const CHANNEL_MODERATORS: Quota =
    Quota { label: "moderators", max: 1_000, noun: "moderators in the channel" };
/// Channel flows of an app instance (service quotas page).
pub(crate) const CHANNEL_FLOWS: Quota =
    Quota { label: "flows", max: 100, noun: "channel flows in the app instance" };
/// Elastic channels of an app instance (service quotas page).
pub(crate) const ELASTIC_CHANNELS: Quota =
    Quota { label: "elastic_channels", max: 1, noun: "elastic channels in the app instance" };
/// Sub-channels of an elastic channel (service quotas page).
pub(crate) const SUB_CHANNELS: Quota =
    Quota { label: "sub_channels", max: 100, noun: "sub-channels in the elastic channel" };
/// Sub-channels of an elastic channel, whatever the quota (ours): one row lists them, and one batch
/// tells all of them of its end.
pub(crate) const SUB_CHANNELS_MAX: i64 = 500;
/// Members of a sub-channel (service quotas page).
pub(crate) const SUB_CHANNEL_MEMBERSHIPS: Quota =
    Quota { label: "sub_channel_memberships", max: 1_000, noun: "memberships in the sub-channel" };
/// Open sockets of a user (service quotas page). One more takes the place of the oldest, so that
/// no counter is kept.
pub(crate) const CONNECTIONS: Quota =
    Quota { label: "connections", max: 10, noun: "connections of the user" };

/// Processors of a channel flow (service quotas page; the model allows three). They stand in its
/// record and have no counter.
pub(crate) const PROCESSORS: Quota =
    Quota { label: "processors", max: 1, noun: "processors in the channel flow" };
/// Tags of a resource (model: the longest list that a request may have).
pub(crate) const RESOURCE_TAGS: Quota =
    Quota { label: "tags", max: 50, noun: "tags of the resource" };

/// Access keys beside the root credential (ours).
pub(crate) const ACCESS_KEYS: Quota =
    Quota { label: "access_keys", max: 10_000, noun: "access keys" };

/// Every quota, in the order in which the operator sees them.
const ALL: [&Quota; 17] = [
    &APP_INSTANCES,
    &APP_INSTANCE_USERS,
    &APP_INSTANCE_ADMINS,
    &APP_INSTANCE_BOTS,
    &USER_ENDPOINTS,
    &CHANNELS,
    &CHANNEL_MEMBERSHIPS,
    &USER_MEMBERSHIPS,
    &CHANNEL_MODERATORS,
    &CHANNEL_FLOWS,
    &PROCESSORS,
    &ELASTIC_CHANNELS,
    &SUB_CHANNELS,
    &SUB_CHANNEL_MEMBERSHIPS,
    &CONNECTIONS,
    &RESOURCE_TAGS,
    &ACCESS_KEYS,
];

impl Quota {
    /// Returns the counter's key below `owner`.
    pub(crate) fn key(&self, owner: Uid) -> Key {
        Key::new(&RESOURCE_COUNT).uid(owner).text(self.label)
    }

    /// Returns the quota whose counter has this key.
    pub(crate) fn of(key: &Key) -> Option<&'static Self> {
        ALL.into_iter().find(|quota| key.bytes().get(16..) == quota.key(ACCOUNT).bytes().get(16..))
    }
}

/// Returns the counter of a channel's hidden members, which are among its memberships. No quota.
pub(crate) fn hidden_memberships(channel: Uid) -> Key {
    Key::new(&RESOURCE_COUNT).uid(channel).text("hidden_memberships")
}

/// The locale of a bot's Lex configuration. The model sets no limit; names of locales are short.
pub(crate) const LOCALE_ID_CHARS_MAX: usize = 64;

/// Returns the counter of what uses a resource that must not be deleted meanwhile.
pub(crate) fn uses_key(resource: Uid) -> Key {
    Key::new(&RESOURCE_COUNT).uid(resource).text("uses")
}

/// Whether this is a counter of uses.
pub(crate) fn counts_uses(key: &Key) -> bool {
    key.bytes().get(16..) == uses_key(ACCOUNT).bytes().get(16..)
}

/// Lets the commit fail while anything uses `resource`: one more would pass a bound of none.
pub(crate) fn require_unused(tx: &mut Txn, resource: Uid) {
    tx.add(uses_key(resource), 1, Some(0));
    tx.add(uses_key(resource), -1, None);
}

/// Content of a STANDARD message, in UTF-8 bytes (developer guide, message types).
pub(crate) const STANDARD_CONTENT_BYTES_MAX: usize = 4_096;
/// Content of a CONTROL message, in UTF-8 bytes (developer guide, message types).
pub(crate) const CONTROL_CONTENT_BYTES_MAX: usize = 30;
/// All names and values of MessageAttributes together, in UTF-8 bytes (developer guide).
pub(crate) const MESSAGE_ATTRIBUTES_BYTES_MAX: usize = 1_024;

/// A FilterRule, in UTF-8 bytes (developer guide, message filters).
pub(crate) const FILTER_RULE_BYTES_MAX: usize = 2_048;
/// Branches of `$or` in a FilterRule (developer guide, message filters).
pub(crate) const FILTER_RULE_BRANCHES_MAX: usize = 5;
/// Attribute names and values in a FilterRule (developer guide, message filters).
pub(crate) const FILTER_RULE_COMPLEXITY_MAX: usize = 20;

/// Items of a page when MaxResults is absent. Undocumented; the model's maximum.
pub(crate) const PAGE_DEFAULT: usize = 50;
/// Reads that one filtering list may make before it returns a short page with a token.
pub(crate) const PAGE_READS_MAX: usize = 10;

/// Index rows that one read of a search takes, over all the members whose channels it compares.
pub(crate) const SEARCH_ROWS_PER_READ: usize = 1_000;
/// Members whose channels a search compares row by row: those with the fewest.
pub(crate) const SEARCH_LEADERS_MAX: usize = 4;
/// Channels that one step of a search looks at closely.
pub(crate) const SEARCH_CANDIDATES_MAX: usize = 100;
/// Rows that a search asks for by their keys in one read.
pub(crate) const SEARCH_POINTS_PER_READ: usize = 1_000;

/// Runs of a handler whose commits keep meeting a conflict, before the caller gets a 503.
pub(crate) const ATTEMPTS_MAX: usize = 40;
/// The first of these runs follow each other at once; a pause stands before each of the others.
pub(crate) const ATTEMPTS_AT_ONCE: usize = 3;
/// The longest of these pauses.
pub(crate) const PAUSE_MS_MAX: u64 = 64;

/// How long a ClientRequestToken is remembered: rows stand in buckets of time, of which the current
/// and the previous one are looked up and the others are swept.
pub(crate) struct TokenLife {
    /// Tells the rows of one life from those of another.
    pub(crate) tag: u8,
    /// The length of a bucket, which is the least life of a row; the greatest is twice that.
    pub(crate) bucket_ms: i64,
}

/// Tokens of creates (undocumented; 24 to 48 hours).
pub(crate) const CREATE_TOKENS: TokenLife = TokenLife { tag: 0, bucket_ms: 24 * 60 * 60 * 1_000 };
/// Tokens of sends (undocumented; 20 to 40 minutes).
pub(crate) const SEND_TOKENS: TokenLife = TokenLife { tag: 1, bucket_ms: 20 * 60 * 1_000 };
/// Every life that a token may have.
pub(crate) const TOKEN_LIVES: [&TokenLife; 2] = [&CREATE_TOKENS, &SEND_TOKENS];

/// How long an event row is kept at least where the operator says nothing, for sessions that resume.
/// Rows leave by whole buckets.
pub const RESUME_WINDOW_MS: u64 = 15 * 60 * 1_000;
/// How far the clocks of two nodes may be apart, stamps that run ahead of their clock included.
pub(crate) const CLOCKS_APART_MS_MAX: u64 = 5_000;
/// How far a session that resumes goes back behind the event that it names: events of several homes
/// do not come in the order of their times.
pub(crate) const RESUME_OVERLAP_MS: u64 = 5_000;
/// How much longer than the window event rows stay, for sessions that are being told.
pub(crate) const RESUME_GRACE_MS: u64 = 60_000;
/// Channels of a user who may resume.
pub(crate) const RESUME_CHANNELS_MAX: i64 = 1_000;
/// Event rows that are read to find what a session missed.
pub(crate) const RESUME_EVENTS_MAX: usize = 10_000;
/// Memberships that may have ended while a session was away.
pub(crate) const RESUME_DEPARTURES_MAX: usize = 1_000;
/// Ranges of events that are read for it: one for each home that has told something and each bucket
/// of the time that was missed.
pub(crate) const RESUME_RANGES_MAX: usize = 20_000;
/// Ranges of events that one read of a search takes; with the rows of each they bound its memory.
pub(crate) const RESUME_RANGES_PER_READ: usize = 16;
/// Event rows that one read takes when events are told again.
pub(crate) const RETOLD_ROWS_PER_READ: usize = 500;

/// Rows that one step of a job or of a sweep writes: few enough that no request waits long for it.
pub(crate) const STEP_ROWS_MAX: usize = 100;
/// A day, the unit of expiration and retention.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// How long messages that a retention setting hides can still be brought back (developer guide).
pub(crate) const RETENTION_GRACE_MS: i64 = 30 * DAY_MS;
/// How long the purge of old messages rests between two passes through an app instance.
pub(crate) const RETENTION_PASS_MS: i64 = 6 * 60 * 60 * 1_000;
/// Channels in which one step of that purge looks for old messages.
pub(crate) const RETENTION_CHANNELS_PER_STEP: usize = 100;
/// How long a job rests whose step failed, so that it does not hold up the others.
pub(crate) const JOB_RETRY_MS: i64 = 60 * 1_000;
/// How long a sub-channel that somebody left is not judged, so that leaves at one time make one job.
pub(crate) const BALANCE_DELAY_MS: i64 = 1_000;
/// How long a sub-channel that is too small, while the others have no room, is not judged again.
pub(crate) const BALANCE_REST_MS: i64 = 60 * 1_000;
/// How far above its minimum a sub-channel is judged when somebody leaves: those who leave at the
/// same moment do not see each other.
pub(crate) const BALANCE_LEAVES_AT_ONCE: i64 = 256;
/// Sub-channels that a join or a step of balancing looks at before it chooses one that has room.
pub(crate) const SUB_CHANNELS_PER_LOOK: usize = 8;
/// Members among whom a step of balancing looks for a plain one.
pub(crate) const BALANCE_KEYS_PER_STEP: usize = 16;
/// Due jobs that are counted for the figures: from there on it is not the number that matters.
pub(crate) const BACKLOG_ROWS_MAX: usize = 1_000;

/// Rows that one read of a user's memberships takes when a session starts.
pub(crate) const SESSION_ROWS_PER_READ: usize = 1_000;

/// Channels that a prefetch tells (developer guide, prefetch).
pub(crate) const PREFETCH_CHANNELS_MAX: usize = 50;
/// Messages of each of them (developer guide, prefetch).
pub(crate) const PREFETCH_MESSAGES_MAX: usize = 20;
/// Memberships of each of them (developer guide, prefetch).
pub(crate) const PREFETCH_MEMBERSHIPS_MAX: usize = 30;
/// Index rows that one read of the channels to choose from takes; each leads to three points.
pub(crate) const PREFETCH_ROWS_PER_READ: usize = 250;
/// Channels whose details are read together, and are in memory until the client takes them.
pub(crate) const PREFETCH_CHANNELS_PER_READ: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quota_is_found_again_by_its_counter_key() {
        for quota in ALL {
            let found = Quota::of(&quota.key(Uid([9; 16]))).map(|quota| quota.label);
            assert_eq!(found, Some(quota.label));
        }
    }
}
