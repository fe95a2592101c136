//! The threads that serve connections, and do what takes long for a session.
//!
//! Invariant: a task stays on one thread from its beginning to its end, the one that had the fewest
//! then, so that its state is in the cache of that processor whenever it is woken. The runtime of all
//! else moves tasks to whoever is idle, which costs a send a quarter of its time.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, EnterGuard, Handle};
use tokio::sync::watch;

/// See the head of this file. Dropping it ends what is left on them.
pub(crate) struct Threads {
    all: Vec<Thread>,
    /// Where connections are accepted: a crowd must not wait for those who are served, as the backlog
    /// has a bound, and who does not find room in it comes again after a second.
    door: Thread,
    _running: watch::Sender<()>,
}

struct Thread {
    runtime: Handle,
    tasks: Arc<AtomicUsize>,
}

impl Threads {
    /// Starts as many threads.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let (running, ended) = watch::channel(());
        let start = |name| Thread::start(name, ended.clone());
        let all = (0..count).map(|number| start(format!("connections-{number}")));
        let (all, door) = (all.collect::<io::Result<_>>()?, start("accept".to_owned())?);
        Ok(Self { all, door, _running: running })
    }

    /// Lets what is made until the guard is dropped belong to the thread that accepts.
    pub(crate) fn enter_door(&self) -> EnterGuard<'_> {
        self.door.runtime.enter()
    }

    /// Runs a task that accepts connections.
    pub(crate) fn spawn_door(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.door.runtime.spawn(task);
    }

    /// Runs a task on the thread that has the fewest.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Some((thread, place)) = self.take_place() else { return };
        self.all[thread].runtime.spawn(async move {
            let _place = place;
            task.await;
        });
    }

    /// Runs a task for each of many things, which keeps its place for as long as what it began runs.
    /// Each thread is told once, and makes its tasks itself.
    pub(crate) fn spawn_each<T, F>(
        &self,
        things: Vec<T>,
        task: impl Fn(T, Place) -> F + Clone + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut shares: Vec<Vec<(T, Place)>> = self.all.iter().map(|_| Vec::new()).collect();
        for thing in things {
            let Some((thread, place)) = self.take_place() else { return };
            shares[thread].push((thing, place));
        }
        for (thread, share) in self.all.iter().zip(shares).filter(|(_, share)| !share.is_empty()) {
            let task = task.clone();
            thread.runtime.spawn(async move {
                for (thing, place) in share {
                    tokio::spawn(task(thing, place));
                }
            });
        }
    }

    /// Returns the thread that has the fewest tasks, and a place there.
    fn take_place(&self) -> Option<(usize, Place)> {
        let count = |(_, thread): &(usize, &Thread)| thread.tasks.load(Ordering::Relaxed);
        let (at, thread) = self.all.iter().enumerate().min_by_key(count)?;
        Some((at, Place::take(&thread.tasks)))
    }
}

/// Returns how many processors this process may use.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

impl Thread {
    fn start(name: String, mut ended: watch::Receiver<()>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let run = move || {
            runtime.block_on(async {
                // Nothing is ever sent: the change is that nobody needs the thread any more.
                while ended.changed().await.is_ok() {}
            });
            runtime.shutdown_background();
        };
        thread::Builder::new().name(name).spawn(run)?;
        Ok(Self { runtime: handle, tasks: Arc::default() })
    }
}

/// One task in the count of its thread.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(tasks: &Arc<AtomicUsize>) -> Self {
        tasks.fetch_add(1, Ordering::Relaxed);
        Self(tasks.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Barrier, mpsc, oneshot};

    use super::*;

    const TASKS: usize = 6;

    #[tokio::test]
    async fn tasks_are_spread_evenly_and_stay_where_they_began() {
        let threads = Threads::start(2).unwrap();
        let (told, mut heard) = mpsc::channel(TASKS);
        let all_there = Arc::new(Barrier::new(TASKS));
        threads.spawn_each((0..TASKS).collect(), move |number, _place| {
            let (told, all_there) = (told.clone(), all_there.clone());
            async move {
                let begun = thread::current().id();
                // The last one to arrive wakes the others, on its own thread and on the other.
                all_there.wait().await;
                told.send((number, begun, thread::current().id())).await.unwrap();
            }
        });
        let mut places = Vec::new();
        while let Some((_, begun, ended)) = heard.recv().await {
            assert_eq!(begun, ended);
            places.push(begun);
        }
        assert_eq!(places.len(), TASKS);
        let here = places.iter().filter(|place| **place == places[0]).count();
        assert_eq!(here, TASKS / 2);
    }

    #[tokio::test]
    async fn a_task_that_has_ended_makes_room() {
        let threads = Threads::start(2).unwrap();
        let place_of = async |threads: &Threads| {
            let (told, heard) = oneshot::channel();
            threads.spawn(async move { told.send(thread::current().id()).unwrap() });
            heard.await.unwrap()
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (told, heard) = oneshot::channel();
        threads.spawn(async move {
            told.send(thread::current().id()).unwrap();
            stopped.await.unwrap_or_default();
        });
        let busy = heard.await.unwrap();
        for _ in 0..TASKS {
            let free = place_of(&threads).await;
            assert_ne!(free, busy);
            // Its place is given back when the task is dropped, a moment after it has told.
            while threads.all.iter().map(|one| one.tasks.load(Ordering::Relaxed)).sum::<usize>() > 1
            {
                tokio::task::yield_now().await;
            }
        }
        drop(stop);
    }

    #[tokio::test]
    async fn a_place_that_was_handed_on_counts_after_its_task_has_ended() {
        let threads = Threads::start(2).unwrap();
        let (told, mut heard) = mpsc::channel(1);
        let mut kept = Vec::new();
        for _ in 0..TASKS {
            let told = told.clone();
            threads.spawn_each(vec![()], move |(), place| {
                let told = told.clone();
                async move { told.send(place).await.unwrap_or_default() }
            });
            kept.push(heard.recv().await.unwrap());
        }
        let counts = threads.all.iter().map(|one| one.tasks.load(Ordering::Relaxed));
        assert_eq!(counts.collect::<Vec<_>>(), [TASKS / 2; 2]);
    }

    #[tokio::test]
    async fn what_is_left_ends_with_the_threads() {
        let threads = Threads::start(1).unwrap();
        let (held, dropped) = oneshot::channel::<()>();
        threads.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(threads);
        assert!(dropped.await.is_err(), "the task was dropped");
    }
}
