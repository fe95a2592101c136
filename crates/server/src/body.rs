//! Reads a request's body within its limits of size and time, and of what may arrive at one time.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Buf as _};
use tokio::time::timeout;
use wire::{Error, ErrorCode};

use crate::admission::Room;

/// Largest body.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// How much of a body that is too large is read and dropped. A client that is still sending when
/// the connection closes would see a reset and not the answer.
const DROPPED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_MS_MAX: u64 = 20_000;

/// Returns the whole body. What arrives of it takes room until then.
pub(crate) async fn read<B>(body: B, room: Room) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut collecting = pin!(collect(body, room));
    // Nearly every body came with its head, and needs no clock.
    if let Poll::Ready(outcome) = poll_fn(|cx| Poll::Ready(collecting.as_mut().poll(cx))).await {
        return outcome;
    }
    match timeout(Duration::from_millis(BODY_MS_MAX), collecting).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::new(ErrorCode::RequestTimeout, "the body did not arrive in time")),
    }
}

async fn collect<B>(mut body: B, mut room: Room) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > BODY_BYTES_MAX + DROPPED_BYTES_MAX {
        return Err(too_large());
    }
    // Nearly every body is one piece, which is passed on without a copy.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut total = 0;
    let mut refusal = None;
    while let Some(frame) = body.frame().await {
        let incomplete = |_| Error::new(ErrorCode::Serialization, "the body is not complete");
        let Ok(data) = frame.map_err(incomplete)?.into_data() else { continue };
        total += data.remaining();
        if total > BODY_BYTES_MAX + DROPPED_BYTES_MAX {
            return Err(too_large());
        }
        if total > BODY_BYTES_MAX {
            refusal = Some(too_large());
        } else if !body.is_end_stream() && refusal.is_none() {
            refusal = room.take(data.remaining()).err();
        }
        if refusal.is_some() {
            // Read on and kept no longer, so that the client gets to hear the answer.
            (first, rest) = (Bytes::new(), BytesMut::new());
            room.give_back();
        } else if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    match refusal {
        Some(refusal) => Err(refusal),
        None if rest.is_empty() => Ok(first),
        None => Ok([first, rest.freeze()].concat().into()),
    }
}

fn too_large() -> Error {
    let text = format!("the body is larger than {BODY_BYTES_MAX} bytes");
    Error::new(ErrorCode::RequestEntityTooLarge, text)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;
    use crate::admission::Admission;

    /// A body that arrives in pieces; one that never ends hangs after the last.
    struct Pieces {
        pieces: VecDeque<Bytes>,
        ends: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.pieces.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    async fn take<B: Body<Data = Bytes> + Unpin>(body: B) -> Result<Bytes, Error> {
        read(body, Admission::new(1).room()).await
    }

    fn pieces(sizes: &[usize]) -> Pieces {
        let pieces = sizes.iter().map(|size| Bytes::from(vec![b'a'; *size])).collect();
        Pieces { pieces, ends: true }
    }

    async fn code(sizes: &[usize]) -> ErrorCode {
        take(pieces(sizes)).await.expect_err("the body is too large").code()
    }

    #[tokio::test]
    async fn a_body_is_the_sum_of_its_pieces() {
        assert!(take(pieces(&[])).await.unwrap().is_empty());
        assert_eq!(take(pieces(&[0, 3])).await.unwrap(), "aaa");
        assert_eq!(take(pieces(&[3, 2, 1])).await.unwrap(), "aaaaaa");
        let whole = take(pieces(&[BODY_BYTES_MAX - 1, 1])).await.unwrap();
        assert_eq!(whole.len(), BODY_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_read_to_its_end_and_refused() {
        assert_eq!(code(&[BODY_BYTES_MAX + 1]).await, ErrorCode::RequestEntityTooLarge);
        let mut many = pieces(&[BODY_BYTES_MAX, 1, 1]);
        let outcome = take(&mut many).await;
        assert_eq!(outcome.unwrap_err().code(), ErrorCode::RequestEntityTooLarge);
        assert!(many.pieces.is_empty());
    }

    #[tokio::test]
    async fn reading_on_has_an_end_too() {
        let mut endless = pieces(&[BODY_BYTES_MAX; 100]);
        assert_eq!(take(&mut endless).await.unwrap_err().code(), ErrorCode::RequestEntityTooLarge);
        assert!(!endless.pieces.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_a_timeout() {
        let stuck = Pieces { pieces: VecDeque::from([Bytes::from_static(b"a")]), ends: false };
        assert_eq!(take(stuck).await.unwrap_err().code(), ErrorCode::RequestTimeout);
    }

    #[tokio::test]
    async fn a_body_that_finds_no_room_is_read_to_its_end_and_refused() {
        let admission = Admission::new(1);
        let mut others = admission.room();
        while others.take(BODY_BYTES_MAX).is_ok() {}
        let mut body = pieces(&[3, 2, 1]);
        let error = read(&mut body, admission.room()).await.expect_err("there is no room");
        assert_eq!(error.code(), ErrorCode::ServiceUnavailable);
        assert!(body.pieces.is_empty());
        others.give_back();
        assert_eq!(read(pieces(&[3, 2, 1]), admission.room()).await.unwrap(), "aaaaaa");
    }
}
