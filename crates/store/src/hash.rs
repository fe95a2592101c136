//! Tables by hash for what every commit and every read walks through.
//!
//! Their keys are made by clients in part, so the hash has a seed of the process, and whoever found keys
//! that fall together all the same would slow down tables that are bounded: those of a group, and the
//! rows that were read lately.

pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
pub(crate) type HashSet<K> = std::collections::HashSet<K, foldhash::fast::RandomState>;
