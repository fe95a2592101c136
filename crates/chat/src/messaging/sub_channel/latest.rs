//! Into which sub-channel the last member of each elastic channel came, on this node.
//!
//! Invariant: it is a hint that saves reading the counters of all of them; whoever takes it reads the
//! counter of the one, and the commit's bounded add decides. It is bounded in size.

use std::collections::HashMap;
use std::sync::Mutex;

use store::Uid;

/// Elastic channels that are remembered; an app instance has one, unless its quota was raised.
const CHANNELS_MAX: usize = 4_096;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Latest(Mutex<HashMap<Uid, Uid>>);

impl Latest {
    pub(crate) fn get(&self, channel: Uid) -> Option<Uid> {
        self.0.lock().ok()?.get(&channel).copied()
    }

    pub(crate) fn set(&self, channel: Uid, sub_channel: Uid) {
        let Ok(mut latest) = self.0.lock() else { return };
        if latest.len() >= CHANNELS_MAX {
            latest.clear();
        }
        latest.insert(channel, sub_channel);
    }
}
