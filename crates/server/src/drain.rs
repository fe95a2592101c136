//! The end of a run: one signal that everybody sees, and a count of the tasks to wait for.
//!
//! Invariant: a task that holds a `Guard` is waited for; a guard is made before the task that made
//! it can end, so that the count never touches zero in between.

use std::sync::Arc;

use tokio::sync::watch;

/// Starts the drain; dropping it starts it too.
pub(crate) struct Trigger(watch::Sender<bool>);

impl Trigger {
    pub(crate) fn start(&self) {
        self.0.send_replace(true);
    }
}

/// Tells whether the server is draining.
#[derive(Clone)]
pub(crate) struct Drain(watch::Receiver<bool>);

impl Drain {
    pub(crate) fn new() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (Trigger(sender), Self(receiver))
    }

    pub(crate) fn is_started(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the drain has started.
    pub(crate) async fn started(&mut self) {
        // An error means that the trigger is gone, which is the same end.
        let _ = self.0.wait_for(|started| *started).await;
    }
}

/// Counts tasks of one kind.
#[derive(Clone)]
pub(crate) struct Tasks(Arc<watch::Sender<usize>>);

impl Tasks {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Counts one more task, until the guard is dropped.
    pub(crate) fn guard(&self) -> Guard {
        self.0.send_modify(|count| *count += 1);
        Guard(self.clone())
    }

    /// Returns once no guard is left.
    pub(crate) async fn finished(&self) {
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One counted task.
pub(crate) struct Guard(Tasks);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_waiter_sees_the_drain() {
        let (trigger, mut drain) = Drain::new();
        let mut other = drain.clone();
        assert!(!drain.is_started());
        trigger.start();
        drain.started().await;
        other.started().await;
        assert!(drain.is_started());
    }

    #[tokio::test]
    async fn tasks_are_finished_when_the_last_guard_is_dropped() {
        let tasks = Tasks::new();
        tasks.finished().await;
        let (first, second) = (tasks.guard(), tasks.guard());
        let waiting = tokio::spawn({
            let tasks = tasks.clone();
            async move { tasks.finished().await }
        });
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
    }
}
