//! The settings of the TLS listener.
//!
//! Invariant: whoever asks for any part of TLS gets a TLS listener or a refusal, never a plain one.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Data, Error, Layers, Mode, address};
use crate::tls::Source;

pub(super) const LISTEN: &str = "tls-listen";
pub(super) const CERT: &str = "tls-cert";
pub(super) const KEY: &str = "tls-key";
pub(super) const SELF_SIGNED: &str = "tls-self-signed";

/// The default of `dev`. Another address takes its place when it is in use.
const DEV_LISTEN: &str = "127.0.0.1:8443";
/// What turns the listener of `dev` off.
const OFF: &str = "off";

/// Where TLS is spoken, and with which certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) listen: SocketAddr,
    pub(crate) source: Source,
    /// Nobody asked for this port, so that any other will do where it is in use.
    pub(crate) any_port_will_do: bool,
}

impl Tls {
    pub(super) fn read(layers: &Layers, mode: Mode, data: &Data) -> Result<Option<Self>, Error> {
        let path = |name| layers.text(name).map(|found| PathBuf::from(found.value));
        let is_dev = mode == Mode::Dev;
        if is_dev && layers.text(LISTEN).is_some_and(|found| found.value == OFF) {
            return Ok(None);
        }
        let (cert, key) = (path(CERT), path(KEY));
        let is_made = if is_dev && cert.is_none() && key.is_none() { "true" } else { "false" };
        let is_self_signed = layers.get(SELF_SIGNED, is_made, switch)?;
        let source = match (cert, key, is_self_signed) {
            (None, None, false) => None,
            (None, None, true) if is_dev => Some(Source::OfThisRun),
            (None, None, true) => Some(Source::SelfSigned { folder: folder(data)? }),
            (Some(cert), Some(key), false) => Some(Source::Files { cert, key }),
            (_, _, true) => {
                return Err(refuse(
                    "--tls-self-signed makes its own certificate: leave --tls-cert and --tls-key out",
                ));
            }
            _ => return Err(refuse("--tls-cert and --tls-key go together")),
        };
        let given = layers.text(LISTEN);
        match (&given, source) {
            (None, None) => Ok(None),
            (_, Some(source)) if given.is_some() || is_dev => {
                let check = |value: &str| mode.check_address(address(value)?);
                let listen = layers.get(LISTEN, DEV_LISTEN, check)?;
                Ok(Some(Self { listen, source, any_port_will_do: given.is_none() }))
            }
            (Some(_), None) => Err(refuse(
                "--tls-listen needs a certificate: --tls-cert and --tls-key, or --tls-self-signed",
            )),
            (_, Some(_)) => Err(refuse("a certificate is given without --tls-listen")),
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
