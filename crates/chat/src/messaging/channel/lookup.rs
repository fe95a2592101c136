//! Channels as index rows name them: by a uid in the key and an id in the value.
//!
//! Invariant: an id may belong to another channel by now, so what is found counts only while it has
//! the uid of the row. A page is one read, however many rows it has.

use store::{Entry, HomeRow, Key, Parts, Uid, View};

use crate::error::Result;
use crate::messaging::channel::Channel;

/// A channel as an index row names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) uid: Uid,
    pub(crate) id: String,
}

impl Named {
    /// Reads an index row whose key is a principal and a channel.
    pub(crate) fn of(row: &Entry) -> Option<Self> {
        let mut parts = Parts::new(&row.key);
        let uid = parts.uid().and_then(|_| parts.uid())?;
        Some(Self { uid, id: String::from_utf8_lossy(&row.value).into_owned() })
    }
}

/// A live channel, its home's row and what was read beside them.
#[derive(Debug)]
pub(crate) struct Found<const N: usize> {
    pub(crate) channel: Channel,
    pub(crate) home: Option<HomeRow>,
    pub(crate) beside: [Option<Entry>; N],
}

/// Returns the channels that are still there, in one read, with the rows that `beside` names.
pub(crate) async fn lookup<const N: usize>(
    view: &View,
    app_instance: Uid,
    named: &[Option<Named>],
    beside: impl Fn(Uid) -> [Key; N],
) -> Result<Vec<Option<Found<N>>>> {
    let mut keys = Vec::with_capacity(named.len() * (N + 2));
    for one in named.iter().flatten() {
        keys.extend([Channel::key_of(app_instance, &one.id), Key::home(one.uid)]);
        keys.extend(beside(one.uid));
    }
    let mut rows = view.entries(&keys).await?.into_iter();
    let mut next = || rows.next().flatten();
    let mut all = Vec::with_capacity(named.len());
    for one in named {
        let Some(one) = one else {
            all.push(None);
            continue;
        };
        let (channel, home) = (next(), next());
        let beside = std::array::from_fn(|_| next());
        let channel = channel.map(|row| row.decode::<Channel>()).transpose()?;
        all.push(channel.filter(|channel| channel.uid == one.uid).map(|channel| Found {
            channel,
            home: home.map(|home| home.home()),
            beside,
        }));
    }
    Ok(all)
}
