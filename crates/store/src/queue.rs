//! The bounded queue between callers and a committer.
//!
//! Callers wait asynchronously for a place; the committer blocks for work if it is a thread
//! (`take`) and waits for it if it is a task (`next`). Invariants: what was
//! accepted is handed out, also after `close`; a group takes the waiting normal batches in their
//! order before any low one.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, oneshot};

use crate::engine::{Batch, Failure, Priority, Unavailable};
use crate::id::Stamp;

/// Normal batches that may wait; further callers wait for a place.
pub(crate) const QUEUE_BATCHES_MAX: usize = 1_024;
/// Low batches that may wait, so that background work never fills the queue.
pub(crate) const QUEUE_LOW_MAX: usize = 64;
/// Batches that one transaction commits at most.
pub(crate) const GROUP_BATCHES_MAX: usize = 256;
/// Bytes of keys and values after which a group takes no further batch.
pub(crate) const GROUP_BYTES_MAX: usize = 1 << 20;
/// Low batches that one transaction takes at most, behind the normal ones: a purge step writes a
/// hundred rows, and callers wait for all of the group.
pub(crate) const GROUP_LOW_MAX: usize = 4;

/// A batch and the way to its caller.
pub(crate) struct Job {
    pub(crate) batch: Batch,
    pub(crate) answer: oneshot::Sender<Result<Stamp, Failure>>,
}

#[derive(Default)]
struct Waiting {
    normal: VecDeque<Job>,
    low: VecDeque<Job>,
    closed: bool,
    /// A thread waits for `arrived`. To signal a condition costs a system call, also when nobody
    /// waits for it.
    is_taker_asleep: bool,
}

impl Waiting {
    /// Tells whether the committer has nothing to do, not even to end.
    fn is_idle(&self) -> bool {
        self.normal.is_empty() && self.low.is_empty() && !self.closed
    }
}

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// The same, for a committer that is a task.
    noticed: Notify,
    normal_places: Semaphore,
    low_places: Semaphore,
}

impl Queue {
    pub(crate) fn new() -> Queue {
        Queue {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            noticed: Notify::new(),
            normal_places: Semaphore::new(QUEUE_BATCHES_MAX),
            low_places: Semaphore::new(QUEUE_LOW_MAX),
        }
    }

    /// Waits for a place and takes it.
    pub(crate) async fn submit(&self, job: Job) -> Result<(), Unavailable> {
        let places = match job.batch.priority {
            Priority::Normal => &self.normal_places,
            Priority::Low => &self.low_places,
        };
        let place = places.acquire().await.map_err(|_| closed())?;
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(closed());
        }
        // `take` gives the place back.
        place.forget();
        match job.batch.priority {
            Priority::Normal => waiting.normal.push_back(job),
            Priority::Low => waiting.low.push_back(job),
        }
        let is_taker_asleep = std::mem::take(&mut waiting.is_taker_asleep);
        drop(waiting);
        if is_taker_asleep {
            self.arrived.notify_one();
        }
        self.noticed.notify_one();
        Ok(())
    }

    /// Blocks until there is work and returns a group of it; none when closed and empty. For one
    /// committer alone.
    pub(crate) fn take(&self) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        while waiting.is_idle() {
            waiting.is_taker_asleep = true;
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        self.gather(waiting)
    }

    /// Waits until there is work and returns a group of it; none when closed and empty. A dropped
    /// future has taken nothing. For one committer alone.
    pub(crate) async fn next(&self) -> Option<Vec<Job>> {
        loop {
            if let Some(outcome) = self.poll() {
                return outcome;
            }
            self.noticed.notified().await;
        }
    }

    fn poll(&self) -> Option<Option<Vec<Job>>> {
        let waiting = self.lock();
        if waiting.is_idle() { None } else { Some(self.gather(waiting)) }
    }

    fn gather(&self, mut waiting: MutexGuard<'_, Waiting>) -> Option<Vec<Job>> {
        let mut group = Vec::new();
        let mut room_bytes = GROUP_BYTES_MAX;
        let normal_count =
            draw(&mut waiting.normal, GROUP_BATCHES_MAX, &mut room_bytes, &mut group);
        let low_max = GROUP_LOW_MAX.min(GROUP_BATCHES_MAX - normal_count);
        let low_count = draw(&mut waiting.low, low_max, &mut room_bytes, &mut group);
        drop(waiting);
        self.normal_places.add_permits(normal_count);
        self.low_places.add_permits(low_count);
        (!group.is_empty()).then_some(group)
    }

    /// Refuses further jobs; those accepted are still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.normal_places.close();
        self.low_places.close();
        self.arrived.notify_all();
        self.noticed.notify_one();
    }

    /// Returns how many jobs wait.
    pub(crate) fn len(&self) -> usize {
        let waiting = self.lock();
        waiting.normal.len() + waiting.low.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.normal_places.is_closed()
    }

    /// Closes the queue and drops what waits: the writer is gone.
    pub(crate) fn abandon(&self) {
        self.close();
        let mut waiting = self.lock();
        let left = (std::mem::take(&mut waiting.normal), std::mem::take(&mut waiting.low));
        drop(waiting);
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves jobs from the front of a line into the group, as many as there is room for.
fn draw(
    line: &mut VecDeque<Job>,
    count_max: usize,
    room_bytes: &mut usize,
    group: &mut Vec<Job>,
) -> usize {
    let before = group.len();
    while *room_bytes > 0 && group.len() - before < count_max {
        let Some(job) = line.pop_front() else { break };
        *room_bytes = room_bytes.saturating_sub(job.batch.weight_bytes());
        group.push(job);
    }
    group.len() - before
}

pub(crate) fn closed() -> Unavailable {
    Unavailable::new("the store is closed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Put;
    use crate::id::Uid;
    use crate::key::Key;
    use crate::table::SETTING;

    fn job(name: &'static str, priority: Priority, value_bytes: usize) -> Job {
        let mut batch = Batch::new(name, Uid::NIL);
        batch.priority = priority;
        batch.puts.push(Put { key: Key::new(&SETTING), value: vec![0; value_bytes] });
        Job { batch, answer: oneshot::channel().0 }
    }

    async fn fill(queue: &Queue, name: &'static str, priority: Priority, count: usize) {
        for _ in 0..count {
            queue.submit(job(name, priority, 1)).await.expect("the queue is open");
        }
    }

    fn names(group: &[Job]) -> Vec<&'static str> {
        group.iter().map(|job| job.batch.name).collect()
    }

    #[tokio::test]
    async fn low_batches_wait_behind_normal_ones_and_few_go_at_once() {
        let queue = Queue::new();
        fill(&queue, "low", Priority::Low, GROUP_LOW_MAX + 1).await;
        fill(&queue, "normal", Priority::Normal, 2).await;
        let group = queue.take().expect("there is work");
        assert_eq!(names(&group[..2]), ["normal"; 2]);
        assert_eq!(names(&group[2..]), ["low"; GROUP_LOW_MAX]);
        assert_eq!(names(&queue.take().expect("one is left")), ["low"]);
    }

    #[tokio::test]
    async fn group_is_bounded_in_batches_and_bytes() {
        let queue = Queue::new();
        fill(&queue, "small", Priority::Normal, GROUP_BATCHES_MAX + 1).await;
        assert_eq!(queue.take().expect("there is work").len(), GROUP_BATCHES_MAX);
        for _ in 0..3 {
            let large = job("large", Priority::Normal, GROUP_BYTES_MAX * 2 / 3);
            queue.submit(large).await.expect("the queue is open");
        }
        assert_eq!(names(&queue.take().expect("there is work")), ["small", "large", "large"]);
        assert_eq!(names(&queue.take().expect("there is work")), ["large"]);
    }

    #[tokio::test]
    async fn closed_queue_hands_out_what_it_accepted_and_refuses_the_rest() {
        let queue = Queue::new();
        fill(&queue, "kept", Priority::Normal, 1).await;
        queue.close();
        assert!(queue.submit(job("late", Priority::Normal, 1)).await.is_err());
        assert_eq!(names(&queue.take().expect("what was accepted")), ["kept"]);
        assert!(queue.take().is_none());
    }

    #[tokio::test]
    async fn waiting_committer_is_woken_by_work_and_by_the_end() {
        let queue = std::sync::Arc::new(Queue::new());
        let committer = std::sync::Arc::clone(&queue);
        let taken = tokio::spawn(async move {
            let first = committer.next().await.expect("there is work");
            (names(&first), committer.next().await.is_none())
        });
        tokio::task::yield_now().await;
        fill(&queue, "work", Priority::Normal, 1).await;
        tokio::task::yield_now().await;
        queue.close();
        assert_eq!(taken.await.expect("ends"), (vec!["work"], true));
    }

    #[tokio::test]
    async fn full_queue_makes_callers_wait_until_a_group_is_taken() {
        let queue = Queue::new();
        fill(&queue, "first", Priority::Normal, QUEUE_BATCHES_MAX).await;
        let mut late = Box::pin(queue.submit(job("late", Priority::Normal, 1)));
        let pending =
            std::future::poll_fn(|cx| std::task::Poll::Ready(late.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
        assert_eq!(queue.take().expect("there is work").len(), GROUP_BATCHES_MAX);
        assert!(late.await.is_ok());
    }
}
