//! The signals that end the server, and the one that renews its certificate.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::tls::{Source, Tls};

/// The signals that end the server. They are caught from the start on, so that none is lost.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Caught only where it has a meaning; elsewhere it ends the process, as it always does.
    hang_up: Option<Signal>,
}

impl Signals {
    pub(super) fn new(config: &Config) -> io::Result<Self> {
        let renews = matches!(&config.tls, Some(tls) if matches!(tls.source, Source::Files { .. }));
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: renews.then(|| signal(SignalKind::hangup())).transpose()?,
        })
    }

    /// Returns once the server is to end; meanwhile SIGHUP renews the certificate.
    pub(super) async fn received(&mut self, renewed: Option<&Tls>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                () = hung_up(self.hang_up.as_mut()) => match renewed.map(Tls::reload) {
                    Some(Ok(())) => tracing::info!("the certificate was read again"),
                    Some(Err(error)) => {
                        let error = anyhow::Error::new(error);
                        tracing::error!("the certificate stays as it was: {error:#}");
                    }
                    None => {}
                },
            }
        }
    }
}

async fn hung_up(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
