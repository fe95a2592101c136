//! Reads a request's body within its limits of size and time, and of what may arrive at one time.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
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

/// Returns the whole body. Until all of it is there, what is allocated for it takes room.
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

async fn collect<B>(mut body: B, room: Room) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let hint = body.size_hint();
    let announced = hint.exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX + DROPPED_BYTES_MAX) {
        return Err(too_large());
    }
    let mut arriving = Arriving::new(announced, room);
    while let Some(frame) = body.frame().await {
        let incomplete = |_| Error::new(ErrorCode::Serialization, "the body is not complete");
        let Ok(data) = frame.map_err(incomplete)?.into_data() else { continue };
        if data.is_empty() {
            continue;
        }
        if arriving.total == 0 && body.is_end_stream() && data.len() <= BODY_BYTES_MAX {
            // Nearly every body is one piece, which is passed on without a copy.
            return Ok(data);
        }
        arriving.add(data)?;
    }
    arriving.into_whole()
}

/// A body of which there may be more to come.
struct Arriving {
    /// The length that its head gave.
    announced: Option<usize>,
    total: usize,
    /// The first piece of a body without a length, which may be all of it.
    first: Bytes,
    whole: BytesMut,
    room: Room,
    /// What is answered when all has arrived. The rest is read and not kept, so that the client
    /// gets to hear it.
    refusal: Option<Error>,
}

impl Arriving {
    fn new(announced: Option<usize>, room: Room) -> Self {
        let (first, whole) = (Bytes::new(), BytesMut::new());
        Self { announced, total: 0, first, whole, room, refusal: None }
    }

    /// Takes in a piece; an error ends the reading.
    fn add(&mut self, data: Bytes) -> Result<(), Error> {
        self.total += data.len();
        if self.total > BODY_BYTES_MAX + DROPPED_BYTES_MAX {
            return Err(too_large());
        }
        if self.refusal.is_none() {
            self.refusal = self.keep(data).err();
        }
        if self.refusal.is_some() {
            (self.first, self.whole) = (Bytes::new(), BytesMut::new());
            self.room.give_back();
        }
        Ok(())
    }

    /// Room is taken once for all that will be allocated, before it is.
    fn keep(&mut self, data: Bytes) -> Result<(), Error> {
        if self.total.max(self.announced.unwrap_or(0)) > BODY_BYTES_MAX {
            return Err(too_large());
        }
        let bytes = self.announced.unwrap_or(BODY_BYTES_MAX);
        if self.total == data.len() {
            self.room.take(bytes)?;
            if self.announced.is_none() {
                self.first = data;
                return Ok(());
            }
        }
        if self.whole.capacity() == 0 {
            // A piece would hold the whole buffer that it was read into.
            self.whole = BytesMut::with_capacity(bytes);
            self.whole.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.whole.extend_from_slice(&data);
        Ok(())
    }

    fn into_whole(self) -> Result<Bytes, Error> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            None if self.whole.is_empty() => Ok(self.first),
            None => Ok(self.whole.freeze()),
        }
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

    use hyper::body::{Frame, SizeHint};

    use super::*;
    use crate::admission::Admission;

    /// A body that arrives in pieces; one that never ends hangs after the last.
    struct Pieces {
        pieces: VecDeque<Bytes>,
        announced: Option<u64>,
        ends: bool,
    }

    impl Pieces {
        /// Tells the length beforehand.
        fn announced(mut self) -> Self {
            self.announced = Some(self.pieces.iter().map(|piece| piece.len() as u64).sum());
            self
        }
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

        fn is_end_stream(&self) -> bool {
            self.announced.is_some() && self.ends && self.pieces.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    async fn take<B: Body<Data = Bytes> + Unpin>(body: B) -> Result<Bytes, Error> {
        read(body, Admission::new(1).room()).await
    }

    fn pieces(sizes: &[usize]) -> Pieces {
        let pieces = sizes.iter().map(|size| Bytes::from(vec![b'a'; *size])).collect();
        Pieces { pieces, announced: None, ends: true }
    }

    /// A body of which the pieces are there and nothing more comes.
    fn stuck(sizes: &[usize], announced: Option<u64>) -> Pieces {
        Pieces { announced, ends: false, ..pieces(sizes) }
    }

    async fn code(sizes: &[usize]) -> ErrorCode {
        take(pieces(sizes)).await.expect_err("the body is too large").code()
    }

    #[tokio::test]
    async fn a_body_is_the_sum_of_its_pieces() {
        for sizes in
            [&[][..], &[3], &[0, 3], &[3, 0, 2, 1], &[BODY_BYTES_MAX - 1, 1], &[BODY_BYTES_MAX]]
        {
            let whole = vec![b'a'; sizes.iter().sum()];
            assert_eq!(take(pieces(sizes)).await.unwrap(), whole, "{sizes:?}");
            assert_eq!(take(pieces(sizes).announced()).await.unwrap(), whole, "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_read_to_its_end_and_refused() {
        assert_eq!(code(&[BODY_BYTES_MAX + 1]).await, ErrorCode::RequestEntityTooLarge);
        for mut many in [&[BODY_BYTES_MAX, 1, 1][..], &[1, BODY_BYTES_MAX]]
            .into_iter()
            .flat_map(|sizes| [pieces(sizes), pieces(sizes).announced()])
        {
            let outcome = take(&mut many).await;
            assert_eq!(outcome.unwrap_err().code(), ErrorCode::RequestEntityTooLarge);
            assert!(many.pieces.is_empty());
        }
    }

    #[tokio::test]
    async fn reading_on_has_an_end_too() {
        let mut endless = pieces(&[BODY_BYTES_MAX; 100]);
        assert_eq!(take(&mut endless).await.unwrap_err().code(), ErrorCode::RequestEntityTooLarge);
        assert!(!endless.pieces.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_a_timeout() {
        assert_eq!(take(stuck(&[1], None)).await.unwrap_err().code(), ErrorCode::RequestTimeout);
    }

    #[tokio::test]
    async fn a_body_of_one_piece_needs_no_room() {
        let admission = Admission::new(1);
        let mut others = admission.room();
        while others.take(BODY_BYTES_MAX).is_ok() {}
        let one = pieces(&[BODY_BYTES_MAX]).announced();
        assert_eq!(read(one, admission.room()).await.unwrap().len(), BODY_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_body_takes_room_for_all_that_it_announces_and_for_the_most_when_it_tells_nothing() {
        for (announced, bytes) in [(Some(1_000), 1_000), (None, BODY_BYTES_MAX)] {
            let admission = Admission::new(1);
            let mut arriving = pin!(read(stuck(&[1, 1], announced), admission.room()));
            assert!(poll_fn(|cx| Poll::Ready(arriving.as_mut().poll(cx))).await.is_pending());
            assert_eq!(admission.arriving_bytes(), bytes);
        }
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
        assert_eq!(admission.arriving_bytes(), 0);
    }
}
