//! The settings of the TLS listener.
//!
//! Invariant: whoever asks for any part of TLS gets a TLS listener or a refusal, never a plain one.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Data, Error, Layers, address};
use crate::tls::Source;

pub(super) const LISTEN: &str = "tls-listen";
pub(super) const CERT: &str = "tls-cert";
pub(super) const KEY: &str = "tls-key";
pub(super) const SELF_SIGNED: &str = "tls-self-signed";

/// Where TLS is spoken, and with which certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) listen: SocketAddr,
    pub(crate) source: Source,
}

impl Tls {
    pub(super) fn read(layers: &Layers, data: &Data) -> Result<Option<Self>, Error> {
        let path = |name| layers.text(name).map(|found| PathBuf::from(found.value));
        let is_self_signed = layers.get(SELF_SIGNED, "false", switch)?;
        let source = match (path(CERT), path(KEY), is_self_signed) {
            (None, None, false) => None,
            (None, None, true) => Some(Source::SelfSigned { folder: folder(data)? }),
            (Some(cert), Some(key), false) => Some(Source::Files { cert, key }),
            (_, _, true) => {
                return Err(refuse(
                    "--tls-self-signed makes its own certificate: leave --tls-cert and --tls-key out",
                ));
            }
            _ => return Err(refuse("--tls-cert and --tls-key go together")),
        };
        match (layers.text(LISTEN), source) {
            (None, None) => Ok(None),
            (Some(_), Some(source)) => {
                let listen = layers.get(LISTEN, "", address)?;
                Ok(Some(Self { listen, source }))
            }
            (Some(_), None) => Err(refuse(
                "--tls-listen needs a certificate: --tls-cert and --tls-key, or --tls-self-signed",
            )),
            (None, Some(_)) => Err(refuse("a certificate is given without --tls-listen")),
        }
    }
}

fn refuse(problem: &str) -> Error {
    Error(problem.to_owned())
}

/// Where the authority is kept.
fn folder(data: &Data) -> Result<PathBuf, Error> {
    match data {
        Data::Folder(folder) => Ok(folder.clone()),
        Data::Memory => Err(refuse(
            "--tls-self-signed keeps its authority in the data folder, which :memory: does not have",
        )),
    }
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{value} is not true or false")),
    }
}
