//! Log lines, on stderr: stdout carries the ready line alone.
//!
//! Rule for every line: operation, request id, status and uid may stand in it; a URI, query, ARN,
//! name, content, token or key may not. Ids of users are often e-mail addresses.

use std::error::Error;
use std::fmt::Write as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Starts the log of this process.
pub(crate) fn start(format: LogFormat, level: LevelFilter) {
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // What the client of NATS has to say of each attempt is told once, by `links`, in our own words.
    let filter = Targets::new().with_default(level).with_target("async_nats", LevelFilter::OFF);
    match format {
        LogFormat::Text => lines.finish().with(filter).init(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            lines.finish().with(filter).init();
        }
    }
}

/// Returns an error and what led to it as one text.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_tells_the_error_and_its_causes() {
        let error = wire::Error::service_failure().with_source("disk on fire");
        assert!(chain(&error).ends_with(": disk on fire"));
    }
}
