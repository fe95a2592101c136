//! The settings of the bus between nodes.
//!
//! Invariant: there is no bus without a shared database, which is what counts; the URL, the password
//! and the token are never shown.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{Error, Layers, database};

pub(super) const URL: &str = "nats-url";
pub(super) const USER: &str = "nats-user";
pub(super) const PASSWORD: &str = "nats-password";
pub(super) const TOKEN: &str = "nats-token";
pub(super) const CA: &str = "nats-ca";
pub(super) const CLIENT_CERT: &str = "nats-client-cert";
pub(super) const CLIENT_KEY: &str = "nats-client-key";
/// Those that mean something beside the URL.
const OTHERS: [&str; 6] = [USER, PASSWORD, TOKEN, CA, CLIENT_CERT, CLIENT_KEY];

/// Where the bus is.
#[derive(Debug)]
pub(crate) struct Bus {
    pub(crate) options: links::nats::Options,
}

impl Bus {
    /// Reads the settings; none = a node by itself.
    pub(super) fn read(layers: &Layers, has_database: bool) -> Result<Option<Self>, Error> {
        let Some(url) = layers.text(URL) else {
            let stray = OTHERS.into_iter().find_map(|name| layers.text(name));
            return match stray {
                None => Ok(None),
                Some(found) => {
                    Err(Error(format!("{} means nothing without --{URL}", found.origin)))
                }
            };
        };
        if !has_database {
            let (origin, database) = (url.origin, database::URL);
            return Err(Error(format!("{origin} needs --{database}, which the nodes share")));
        }
        let text = |name| layers.text(name).map(|found| found.value.to_owned());
        let file = |name| text(name).map(PathBuf::from);
        let options = links::nats::Options {
            url: Zeroizing::new(url.value.to_owned()),
            user: text(USER),
            password: text(PASSWORD).map(Zeroizing::new),
            token: text(TOKEN).map(Zeroizing::new),
            ca: file(CA),
            client_cert: file(CLIENT_CERT),
            client_key: file(CLIENT_KEY),
            name: "campanile".to_owned(),
        };
        Ok(Some(Self { options }))
    }
}
