//! Many sockets that hear the same channel, read by one thread that does nothing else.
//!
//! Invariants: nothing is taken for heard but a complete frame with the number of a message that
//! was sent; every socket hears the messages in one and the same order, each once. The thread
//! shares its two cores with the server that is measured, so it looks at headers and numbers only.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tokio::sync::oneshot;

use crate::frame::{self, CLOSE, Marks, PING, PONG, Spread, TEXT};
use crate::session::{Line, Session};

const READ_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1024;
/// How often the thread looks whether it is to end when nothing comes.
const LOOK: Duration = Duration::from_millis(20);
/// Messages of one run.
pub(crate) const MESSAGES_MAX: usize = 1 << 16;

/// One socket.
pub(crate) struct Ear {
    stream: TcpStream,
    /// The beginning of a frame.
    tail: Vec<u8>,
    /// Messages heard in this run.
    heard: usize,
    is_closed: bool,
}

impl Ear {
    pub(crate) fn new(session: Session) -> Result<Ear> {
        let Line::Plain(stream) = session.line else { anyhow::bail!("a plain session is needed") };
        let stream = TcpStream::from_std(stream.into_std()?);
        Ok(Ear { stream, tail: session.leftover, heard: 0, is_closed: false })
    }
}

/// What senders and the thread share.
pub(crate) struct Talk {
    epoch: Instant,
    /// When each message was sent, in nanoseconds after the epoch.
    sent_ns: Vec<AtomicU64>,
    /// Who waits until everybody has heard a message.
    waiting: Mutex<HashMap<u32, oneshot::Sender<()>>>,
    /// The measured time, in nanoseconds after the epoch.
    window_ns: [AtomicU64; 2],
    is_over: AtomicBool,
}

impl Talk {
    pub(crate) fn new() -> Arc<Talk> {
        Arc::new(Talk {
            epoch: Instant::now(),
            sent_ns: (0..MESSAGES_MAX).map(|_| AtomicU64::new(0)).collect(),
            waiting: Mutex::default(),
            window_ns: [AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)],
            is_over: AtomicBool::new(false),
        })
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Notes that a message is sent now; what is returned ends when everybody has heard it.
    pub(crate) fn sending(&self, number: u32) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        self.sent_ns[number as usize].store(self.now_ns().max(1), Ordering::Relaxed);
        receiver
    }

    /// Begins the measured time.
    pub(crate) fn begin(&self) {
        self.window_ns[0].store(self.now_ns(), Ordering::Relaxed);
    }

    /// Ends the measured time.
    pub(crate) fn end(&self) {
        self.window_ns[1].store(self.now_ns(), Ordering::Relaxed);
    }

    /// Lets the thread end.
    pub(crate) fn over(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn is_measured(&self, now_ns: u64) -> bool {
        let [begin, end] = &self.window_ns;
        now_ns >= begin.load(Ordering::Relaxed) && now_ns < end.load(Ordering::Relaxed)
    }

    fn all_heard(&self, number: u32) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        // Nobody waits for the messages of a fixed rate.
        let _ = waiting.map(|waiting| waiting.send(()));
    }
}

/// What was heard.
pub(crate) struct Heard {
    /// Within the measured time.
    pub(crate) measured: u64,
    pub(crate) latencies: Spread,
    /// In the whole run.
    pub(crate) all: u64,
    /// Frames that came twice, out of order, or were none of the messages.
    pub(crate) wrong: u64,
    /// Sockets that the server closed.
    pub(crate) closed: u64,
}

/// The thread while it listens.
pub(crate) struct Audience(JoinHandle<Result<(Vec<Ear>, Heard)>>);

impl Audience {
    /// Starts to listen.
    pub(crate) fn listen(ears: Vec<Ear>, talk: Arc<Talk>) -> Result<Audience> {
        let poll = Poll::new()?;
        let room = Room {
            talk,
            order: Vec::new(),
            left: vec![u32::try_from(ears.len())?; MESSAGES_MAX],
            marks: Marks::default(),
            heard: Heard { measured: 0, latencies: Spread::new(), all: 0, wrong: 0, closed: 0 },
        };
        Ok(Audience(thread::spawn(move || room.run(poll, ears))))
    }

    /// Waits for the end and gives the sockets back.
    pub(crate) fn join(self) -> Result<(Vec<Ear>, Heard)> {
        self.0.join().ok().context("the listening thread failed")?
    }
}

struct Room {
    talk: Arc<Talk>,
    /// The messages in the order in which the first socket to hear each of them heard them.
    order: Vec<u32>,
    /// How many have not heard a message yet.
    left: Vec<u32>,
    marks: Marks,
    heard: Heard,
}

impl Room {
    fn run(mut self, mut poll: Poll, mut ears: Vec<Ear>) -> Result<(Vec<Ear>, Heard)> {
        for (place, ear) in ears.iter_mut().enumerate() {
            ear.heard = 0;
            poll.registry().register(&mut ear.stream, Token(place), Interest::READABLE)?;
        }
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; READ_BYTES];
        while !self.talk.is_over.load(Ordering::Relaxed) {
            match poll.poll(&mut events, Some(LOOK)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                self.read(&mut ears[event.token().0], &mut buffer)?;
            }
        }
        for ear in &mut ears {
            poll.registry().deregister(&mut ear.stream)?;
        }
        Ok((ears, self.heard))
    }

    /// Reads all that a socket has.
    fn read(&mut self, ear: &mut Ear, buffer: &mut [u8]) -> Result<()> {
        loop {
            let before = ear.tail.len();
            buffer[..before].copy_from_slice(&ear.tail);
            let count = match ear.stream.read(&mut buffer[before..]) {
                Ok(0) => 0,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            if count == 0 {
                if !ear.is_closed {
                    ear.is_closed = true;
                    self.heard.closed += 1;
                }
                return Ok(());
            }
            let filled = before + count;
            let taken = self.take(ear, &buffer[..filled])?;
            ear.tail.clear();
            ear.tail.extend_from_slice(&buffer[taken..filled]);
            // A read that leaves room has emptied the socket, and the next bytes are told again.
            if filled < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Takes complete frames and returns how many bytes they were.
    fn take(&mut self, ear: &mut Ear, bytes: &[u8]) -> Result<usize> {
        let now_ns = self.talk.now_ns();
        let is_measured = self.talk.is_measured(now_ns);
        let mut taken = 0;
        while let Some((opcode, start, end)) = frame::header(&bytes[taken..])
            && taken + end <= bytes.len()
        {
            match opcode {
                TEXT => {
                    let payload = &bytes[taken + start..taken + end];
                    self.message(ear, payload, now_ns, is_measured);
                }
                PING => ear.stream.write_all(&PONG)?,
                CLOSE if !ear.is_closed => {
                    ear.is_closed = true;
                    self.heard.closed += 1;
                }
                _ => {}
            }
            taken += end;
        }
        Ok(taken)
    }

    fn message(&mut self, ear: &mut Ear, payload: &[u8], now_ns: u64, is_measured: bool) {
        let number = self.marks.number(payload).filter(|number| self.is_sent(*number));
        let Some(number) = number else {
            self.heard.wrong += 1;
            return;
        };
        if ear.heard == self.order.len() {
            self.order.push(number);
        }
        if self.order[ear.heard] != number {
            self.heard.wrong += 1;
            return;
        }
        ear.heard += 1;
        self.heard.all += 1;
        if is_measured {
            self.heard.measured += 1;
            let sent_ns = self.talk.sent_ns[number as usize].load(Ordering::Relaxed);
            self.heard.latencies.add(Duration::from_nanos(now_ns.saturating_sub(sent_ns)));
        }
        let left = &mut self.left[number as usize];
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.talk.all_heard(number);
        }
    }

    fn is_sent(&self, number: u32) -> bool {
        let sent_ns = self.talk.sent_ns.get(number as usize);
        sent_ns.is_some_and(|sent_ns| sent_ns.load(Ordering::Relaxed) > 0)
    }
}
