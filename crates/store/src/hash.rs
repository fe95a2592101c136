//! Tables by hash for what every commit and every read walks through.
//!
//! Their keys are made by clients in part. The hash has a seed that is drawn at random for each
//! table, so that nobody can choose keys that fall together; each table is bounded besides.

pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
