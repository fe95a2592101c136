//! The settings of a database that several nodes share.
//!
//! Invariant: a node of several is never started with a root credential of its own, which the
//! others would refuse; the URL, which may hold a password, is never shown.

use std::fmt;
use std::path::PathBuf;

use super::{ACCESS_KEY_ID, Error, Layers, SECRET_ACCESS_KEY, variable};

pub(super) const URL: &str = "database-url";
pub(super) const CA: &str = "database-ca";
pub(super) const CLIENT_CERT: &str = "database-client-cert";
pub(super) const CLIENT_KEY: &str = "database-client-key";

/// Where the database is, and the files for TLS to it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Database {
    url: String,
    ca: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("url", &"***")
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Reads the settings; none = the embedded database.
    pub(super) fn read(layers: &Layers, has_credential: bool) -> Result<Option<Self>, Error> {
        let file = |name| layers.text(name).map(|found| PathBuf::from(found.value));
        let Some(url) = layers.text(URL) else {
            let stray =
                [CA, CLIENT_CERT, CLIENT_KEY].into_iter().find_map(|name| layers.text(name));
            return match stray {
                None => Ok(None),
                Some(found) => {
                    Err(Error(format!("{} means nothing without --{URL}", found.origin)))
                }
            };
        };
        if !has_credential {
            let (id, secret) = (variable(ACCESS_KEY_ID), variable(SECRET_ACCESS_KEY));
            let origin = url.origin;
            return Err(Error(format!("{origin} needs {id} and {secret}, the same on every node")));
        }
        let (ca, client_cert, client_key) = (file(CA), file(CLIENT_CERT), file(CLIENT_KEY));
        Ok(Some(Self { url: url.value.to_owned(), ca, client_cert, client_key }))
    }

    /// Returns what the engine is opened with.
    pub(crate) fn engine(&self) -> store::postgres::Config {
        store::postgres::Config {
            ca: self.ca.clone(),
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
            ..store::postgres::Config::new(&self.url)
        }
    }
}
