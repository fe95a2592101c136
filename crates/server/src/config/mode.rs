//! What the settings mean for `serve` and for `dev`.
//!
//! Invariant: `dev`, whose key everybody knows, is never reached from another machine and never
//! touches what somebody keeps.

use std::net::SocketAddr;

use super::{Data, Database, Error, MEMORY, database};
use crate::credentials::Credential;

/// Both halves of the root credential of `dev`, unless the variables give another.
const DEV_KEY: &str = "test";

/// Which command the settings are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Serve,
    /// For the tests of an app: in memory, on loopback, with a clock to advance.
    Dev,
}

impl Mode {
    /// The default of `--data-dir`.
    pub(super) fn data_dir(self) -> &'static str {
        match self {
            Self::Serve => "./campanile-data",
            Self::Dev => MEMORY,
        }
    }

    pub(super) fn credential(self, given: Option<Credential>) -> Result<Option<Credential>, Error> {
        match (self, given) {
            (Self::Dev, None) => Credential::new(DEV_KEY, DEV_KEY).map(Some).map_err(Error),
            (_, given) => Ok(given),
        }
    }

    pub(super) fn check_address(self, address: SocketAddr) -> Result<SocketAddr, String> {
        if self == Self::Dev && !address.ip().to_canonical().is_loopback() {
            return Err(format!("dev listens on loopback only, not on {address}"));
        }
        Ok(address)
    }

    pub(super) fn check_data(self, data: Data) -> Result<Data, String> {
        match (self, data) {
            (Self::Dev, Data::Folder(_)) => {
                Err(format!("dev keeps everything in memory: leave it out or say {MEMORY}"))
            }
            (_, data) => Ok(data),
        }
    }

    pub(super) fn check_database(
        self,
        database: Option<Database>,
    ) -> Result<Option<Database>, Error> {
        if self == Self::Dev && database.is_some() {
            return Err(Error(format!(
                "dev keeps everything in memory: leave --{} out",
                database::URL
            )));
        }
        Ok(database)
    }
}
