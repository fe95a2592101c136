//! The REST-JSON protocol: the parts of a request to a typed input, a typed output to a body.
//!
//! Body text streams straight into the slots of the input. Invariant: a request either gives an
//! input that meets all constraints of the model, or one error that counts every violation; a part
//! that cannot be read at all is a serialization error, whatever else is wrong.

mod json;
mod read;
mod write;

#[cfg(test)]
mod tests;

use crate::constraint::{Path, Report};
use crate::error::{Error, ErrorCode};
use crate::operation::Operation;
use crate::shape::Shape;
use read::Filling;

pub(crate) use write::write_text;
pub use write::{TimeFormat, write};

/// Room for a usual answer, so that it is written without growing.
const BODY_BYTES_USUAL: usize = 512;

/// Reads the input of an operation.
pub fn decode<O: Operation>(
    labels: &[(&'static str, String)],
    raw_query: Option<&str>,
    body: &[u8],
) -> Result<O::Input, Error> {
    let mut input = O::Input::default();
    let report = fill(&mut input, labels, raw_query.unwrap_or_default(), body)?;
    if report.is_empty() {
        return Ok(input);
    }
    let is_modelled = O::ERRORS.contains(&ErrorCode::BadRequest);
    let code = if is_modelled { ErrorCode::BadRequest } else { ErrorCode::Validation };
    Err(Error::new(code, report.message()))
}

/// Returns the body of a successful answer; an operation that answers nothing has an empty one.
pub fn encode<S: Shape>(output: &S) -> Vec<u8> {
    let mut body = Vec::with_capacity(BODY_BYTES_USUAL);
    if !output.members().is_empty() {
        write(output, TimeFormat::EpochSeconds, &mut body);
    }
    body
}

/// Fills an input from all parts of a request; the report tells what is wrong with it.
fn fill(
    input: &mut dyn Shape,
    labels: &[(&'static str, String)],
    raw_query: &str,
    body: &[u8],
) -> Result<Report, Error> {
    let mut filling = Filling::new(input, &Path::Root);
    filling.take_labels(labels)?;
    filling.take_query(raw_query)?;
    if !body.is_empty() {
        json::take_body(&mut filling, body)?;
    }
    let mut report = Report::default();
    filling.finish(&mut report);
    Ok(report)
}
