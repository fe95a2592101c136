//! What store and rules count by themselves, read when somebody asks.
//!
//! Invariant: figures of a shared database are told only by a node that has one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat::Chat;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use store::postgres::Counts;

/// The sources of these figures.
pub(crate) struct StoreFigures {
    pub(crate) chat: Chat,
    /// Those of a shared database.
    pub(crate) counts: Option<Arc<Counts>>,
}

impl fmt::Debug for StoreFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFigures").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// Which operation's transactions are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

impl StoreFigures {
    /// Tells what the engine counts: together they give the mean size and time of a group.
    fn engine(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.chat.store_figures();
        let seconds = figures.commit_time.as_secs_f64();
        let help = "Batches that wait for a committer of the store";
        gauge(encoder, "store_queue", help, figures.waiting)?;
        let help = "Groups of events that wait to be delivered to sockets";
        gauge(encoder, "sink_groups", help, figures.sink_waiting)?;
        let help = "Groups that the store has committed, each with one sync";
        counter(encoder, "store_groups", help, figures.groups)?;
        let help = "Batches in these groups, each one request or step of a job";
        counter(encoder, "store_batches", help, figures.batches)?;
        let help = "Time that these groups took, the sync included";
        let time = ConstCounter::<f64>::new(seconds);
        let (name, unit) = ("store_commit", Some(&Unit::Seconds));
        time.encode(encoder.encode_descriptor(name, help, unit, time.metric_type())?)?;
        let Some(bytes) = figures.log_bytes else { return Ok(()) };
        let help = "Size of the write-ahead log of the embedded database";
        gauge_of(encoder, ("store_log", Some(&Unit::Bytes)), help, bytes)
    }

    fn conflicts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let family = Family::<Operation, Counter>::default();
        for (operation, count) in self.chat.conflicts() {
            family.get_or_create(&Operation { operation }).inc_by(count);
        }
        let help = "The same for each operation that has met one";
        let name = "operation_conflicts";
        family.encode(encoder.encode_descriptor(name, help, None, family.metric_type())?)
    }
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    figure: u64,
) -> fmt::Result {
    let counter = ConstCounter::<u64>::new(figure);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, figure: u64) -> fmt::Result {
    gauge_of(encoder, (name, None), help, figure)
}

fn gauge_of(
    encoder: &mut DescriptorEncoder<'_>,
    (name, unit): (&str, Option<&Unit>),
    help: &str,
    figure: u64,
) -> fmt::Result {
    let gauge = ConstGauge::<i64>::new(i64::try_from(figure).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
}

impl Collector for StoreFigures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.engine(&mut encoder)?;
        self.conflicts(&mut encoder)?;
        let mut tell = |name, help, figure| counter(&mut encoder, name, help, figure);
        let help = "Transactions that were run again because a row has changed that they had read \
                    or guessed";
        tell("transaction_conflicts", help, self.chat.conflict_count())?;
        let help = "Bots that a message named and that did not answer, as Lex is not connected";
        tell("bot_invocations_failed", help, self.chat.failed_bot_invocation_count())?;
        let help = "Devices registered to which nothing is pushed";
        tell("endpoints_undeliverable", help, self.chat.undeliverable_endpoint_count())?;
        let help = "Streaming configurations refused, as Kinesis is not connected";
        tell("streams_refused", help, self.chat.refused_stream_count())?;
        let help = "Messages for which a processor of a channel flow could not be invoked";
        tell("failed_invocations", help, self.chat.failed_invocation_count())?;
        let Some(counts) = &self.counts else { return Ok(()) };
        let help =
            "Groups that were tried again: a deadlock, a lock held for long, a lost connection";
        tell("database_retries", help, counts.retries.load(Ordering::Relaxed))?;
        let help = "Groups whose COMMIT was sent and not answered";
        tell("database_lost_commits", help, counts.lost_commits.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::testing;

    async fn text_of(counts: Option<Arc<Counts>>) -> String {
        let (chat, _) = testing::chat().await;
        Metrics::new().with_store(StoreFigures { chat, counts }).to_text()
    }

    #[tokio::test]
    async fn figures_of_a_shared_database_are_told_where_there_is_one() {
        let counts = Arc::new(Counts::default());
        counts.retries.store(3, Ordering::Relaxed);
        let shared = text_of(Some(counts)).await;
        for line in [
            "campanile_transaction_conflicts_total 0",
            "campanile_failed_invocations_total 0",
            "campanile_database_retries_total 3",
            "campanile_database_lost_commits_total 0",
        ] {
            assert!(shared.contains(line), "{line} is missing from:\n{shared}");
        }
        let embedded = text_of(None).await;
        for line in [
            "campanile_transaction_conflicts_total 0",
            "campanile_bot_invocations_failed_total 0",
            "campanile_endpoints_undeliverable_total 0",
            "campanile_streams_refused_total 0",
        ] {
            assert!(embedded.contains(line), "{line} is missing from:\n{embedded}");
        }
        assert!(!embedded.contains("campanile_database"));
    }
}
