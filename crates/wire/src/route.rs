//! From a request line to an operation and the labels of its path.
//!
//! The raw path is split on `/` before anything is decoded, and each label is decoded once: that is
//! how every client signs and sends it. Invariant: one request line has at most one operation, and
//! a path that only a proxy could have made (a decoded ARN) has none.

#[cfg(test)]
mod tests;

use crate::error::{Error, ErrorCode};
use crate::generated;
use crate::operation::{Method, OperationId};
use crate::percent;

/// Most segments that the path of an operation has.
const SEGMENTS_MAX: usize = 5;
/// The text of a request line that no operation is bound to.
const UNKNOWN: &str = "There is no operation at this method and path.";
/// The text of a label that cannot be decoded.
const BAD_LABEL: &str = "A part of the path is not percent-encoded UTF-8.";

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub operation: OperationId,
    /// The labels by their names in the model, such as `channelArn`, decoded.
    pub labels: Vec<(&'static str, String)>,
}

/// One path of the API and the operations that share it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) segments: &'static [Segment],
    /// The query parameter that tells the operations apart; empty when there is just one.
    pub(crate) parameter: &'static str,
    /// Value of that parameter to operation; the empty value is that of an absent parameter.
    pub(crate) operations: &'static [(&'static str, OperationId)],
}

/// One part of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Segment {
    Literal(&'static str),
    Label(&'static str),
}

/// Makes the route table: for a method and a number of segments, the paths that have them.
macro_rules! routes {
    ($($method:ident $count:literal {
        $($($segment:tt)/+ by $parameter:literal {
            $($value:literal => $operation:ident,)*
        })*
    })*) => {
        /// Returns the routes of a method whose paths have that many segments.
        pub(crate) fn rows(
            method: $crate::operation::Method,
            segment_count: usize,
        ) -> &'static [$crate::route::Row] {
            match (method, segment_count) {
                $(($crate::operation::Method::$method, $count) => &[$(
                    $crate::route::Row {
                        segments: &[$($crate::route::segment!($segment)),+],
                        parameter: $parameter,
                        operations: &[$(($value, OperationId::$operation)),*],
                    },
                )*],)*
                _ => &[],
            }
        }
    };
}

/// Makes a segment: `"literal"` or `{label}`.
macro_rules! segment {
    ({$label:ident}) => {
        $crate::route::Segment::Label(stringify!($label))
    };
    ($literal:literal) => {
        $crate::route::Segment::Literal($literal)
    };
}

pub(crate) use {routes, segment};

/// Finds the operation of a request line.
pub fn route(method: &str, raw_path: &str, raw_query: Option<&str>) -> Result<Route, Error> {
    let method = Method::parse(method).ok_or_else(unknown)?;
    let mut buffer = [""; SEGMENTS_MAX];
    let segments = split(raw_path, &mut buffer).ok_or_else(unknown)?;
    let row = generated::rows(method, segments.len())
        .iter()
        .find(|row| matches(row, segments))
        .ok_or_else(unknown)?;
    let operation = choose(row, raw_query.unwrap_or_default()).ok_or_else(unknown)?;
    Ok(Route { operation, labels: decode_labels(row, segments)? })
}

/// Splits a path into its raw segments; `None` when it has more than any operation.
fn split<'p, 'b>(
    raw_path: &'p str,
    buffer: &'b mut [&'p str; SEGMENTS_MAX],
) -> Option<&'b [&'p str]> {
    let mut count = 0;
    for segment in raw_path.strip_prefix('/')?.split('/') {
        *buffer.get_mut(count)? = segment;
        count += 1;
    }
    buffer.get(..count)
}

/// Tells whether the segments, of which there are as many as in the row, fit; none may be empty.
fn matches(row: &Row, segments: &[&str]) -> bool {
    row.segments.iter().zip(segments).all(|(expected, segment)| match expected {
        Segment::Literal(literal) => literal == segment,
        Segment::Label(_) => !segment.is_empty(),
    })
}

/// Chooses between the operations of a path; the last of repeated parameters counts.
fn choose(row: &Row, raw_query: &str) -> Option<OperationId> {
    let mut value = String::new();
    if !row.parameter.is_empty() {
        for (name, raw_value) in percent::pairs(raw_query) {
            if percent::is_name(name, row.parameter) {
                value = percent::decode(raw_value)?;
            }
        }
    }
    row.operations.iter().find(|(known, _)| *known == value).map(|(_, operation)| *operation)
}

fn decode_labels(row: &Row, segments: &[&str]) -> Result<Vec<(&'static str, String)>, Error> {
    let mut labels = Vec::new();
    for (expected, segment) in row.segments.iter().zip(segments) {
        if let Segment::Label(name) = expected {
            let bad_label = || Error::new(ErrorCode::Serialization, BAD_LABEL);
            labels.push((*name, percent::decode(segment).ok_or_else(bad_label)?));
        }
    }
    Ok(labels)
}

fn unknown() -> Error {
    Error::new(ErrorCode::UnknownOperation, UNKNOWN)
}
