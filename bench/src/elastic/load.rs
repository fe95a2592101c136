//! Members of an elastic channel as rows, after the pattern of one whom the rules have let in.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::Value;
use store::{Add, Batch, Engine, Key, Put, Uid};

/// Members in one batch: each has some rows of his own.
const MEMBERS_PER_BATCH: usize = 1_000;
/// Tables of which each user has a row of his own.
const TABLES: [&str; 4] =
    ["app_instance_user", "channel_membership", "elastic_member", "channel_membership_by_member"];

/// See the head of this file.
pub(super) struct Loader {
    puts: Vec<Put>,
    adds: Vec<Add>,
    /// The batch that made the channel, with its first sub-channel.
    channel: Batch,
    /// The id of the pattern's user, which ends in a number.
    pub(super) id: String,
    user: Uid,
    sub_channel: Uid,
}

impl Loader {
    /// Takes the batches by which a user of this id was made and came into this sub-channel of a
    /// channel that was made by `channel`.
    pub(super) fn new(
        channel: &Batch,
        batches: [&Batch; 2],
        id: &str,
        sub_channel: &str,
    ) -> Result<Loader> {
        let puts = batches.iter().flat_map(|batch| batch.puts.clone());
        let puts: Vec<Put> = puts.filter(|put| TABLES.contains(&put.key.table().name)).collect();
        let record = puts.iter().find(|put| put.key.table().name == TABLES[0]);
        let record = json_of(&record.context("a user has a record")?.value)?;
        let user = uid(record["uid"].as_str().context("a user has a uid")?)?;
        let adds = batches.iter().flat_map(|batch| batch.adds.clone()).collect();
        let sub_channel = uid(&sub_channel.replace('-', ""))?;
        let channel = channel.clone();
        Ok(Loader { puts, adds, channel, id: id.to_owned(), user, sub_channel })
    }

    /// Fills so many sub-channels and returns the ids of members and their sub-channels. The pattern
    /// is the first of them.
    pub(super) async fn load(
        &self,
        engine: &Arc<dyn Engine>,
        sub_channels: usize,
        target: usize,
    ) -> Result<Vec<(String, String)>> {
        let subs: Vec<Uid> =
            (0..sub_channels).map(|index| numbered(self.sub_channel, index)).collect();
        self.put_sub_channels(engine, &subs).await?;
        let mut members = Vec::with_capacity(sub_channels * target);
        let mut batch = Batch::new("load", self.sub_channel);
        let mut sums: BTreeMap<Key, i64> = BTreeMap::new();
        for index in 0..sub_channels * target {
            let sub_channel = subs[index / target];
            let id = format!("{}{index:08}", &self.id[..self.id.len() - 8]);
            members.push((id.clone(), uuid(sub_channel)));
            if index > 0 {
                self.add(&mut batch, &mut sums, index, &id, sub_channel);
            }
            if (index + 1) % MEMBERS_PER_BATCH == 0 || index + 1 == sub_channels * target {
                let adds = std::mem::take(&mut sums).into_iter();
                batch.adds = adds.map(|(key, delta)| Add { key, delta, max: None }).collect();
                engine.commit(batch).await?;
                batch = Batch::new("load", self.sub_channel);
            }
        }
        Ok(members)
    }

    /// Puts the rows of sub-channels that are about to be full, after the pattern of the first.
    async fn put_sub_channels(&self, engine: &Arc<dyn Engine>, subs: &[Uid]) -> Result<()> {
        let mut batch = Batch::new("load", self.sub_channel);
        for Put { key, value } in &self.channel.puts {
            match key.table().name {
                "sub_channel_list" => {
                    let mut list = json_of(value)?;
                    list["sub_channels"] = subs.iter().map(ToString::to_string).collect();
                    let value = store::codec::encode(&list);
                    batch.puts.push(Put { key: key.clone(), value });
                }
                "sub_channel" => {
                    let mut record = json_of(value)?;
                    record["is_full"] = Value::Bool(true);
                    for &uid in subs {
                        record["uid"] = Value::String(uid.to_string());
                        let bytes = replaced(key.bytes(), &self.sub_channel.0, &uid.0);
                        let value = store::codec::encode(&record);
                        batch.puts.push(Put { key: Key::new(key.table()).raw(&bytes), value });
                    }
                }
                "sub_channel_by_use" => batch.deletes.push(key.clone()),
                _ => {}
            }
        }
        let label = |key: &Key| key.bytes().get(size_of::<Uid>()..).map(<[u8]>::to_vec);
        let is_count =
            |add: &&Add| label(&add.key).is_some_and(|label| label.starts_with(b"sub_channels"));
        let count = self.channel.adds.iter().find(is_count);
        let key = count.context("sub-channels are counted")?.key.clone();
        batch.adds.push(Add { key, delta: i64::try_from(subs.len())? - 1, max: None });
        engine.commit(batch).await?;
        Ok(())
    }

    /// Adds the rows of one more member.
    fn add(
        &self,
        batch: &mut Batch,
        sums: &mut BTreeMap<Key, i64>,
        index: usize,
        id: &str,
        sub_channel: Uid,
    ) {
        let user = numbered(self.user, index);
        let swap = |bytes: &[u8]| {
            let bytes = replaced(bytes, &self.user.0, &user.0);
            let bytes = replaced(&bytes, &self.sub_channel.0, &sub_channel.0);
            let hex = |uid: Uid| uid.to_string().into_bytes();
            let bytes = replaced(&bytes, &hex(self.user), &hex(user));
            let bytes = replaced(&bytes, &hex(self.sub_channel), &hex(sub_channel));
            replaced(&bytes, self.id.as_bytes(), id.as_bytes())
        };
        let key = |key: &Key| Key::new(key.table()).raw(&swap(key.bytes()));
        let puts = self.puts.iter();
        batch.puts.extend(puts.map(|put| Put { key: key(&put.key), value: swap(&put.value) }));
        for add in &self.adds {
            *sums.entry(key(&add.key)).or_default() += add.delta;
        }
    }
}

/// Returns another uid, which stands behind the first in the order of `index`.
fn numbered(first: Uid, index: usize) -> Uid {
    if index == 0 {
        return first;
    }
    let mut bytes = first.0;
    // The time and some of what was drawn stay, so that the rows lie together and apart from others.
    bytes[8..].copy_from_slice(&(index as u64).to_be_bytes());
    Uid(bytes)
}

/// Returns `bytes` with what is equal to `old` replaced by as many bytes of `new`.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut from = 0;
    while let Some(at) = out[from..].windows(old.len()).position(|part| part == old) {
        out[from + at..from + at + old.len()].copy_from_slice(new);
        from += at + old.len();
    }
    out
}

fn json_of(value: &[u8]) -> Result<Value> {
    Ok(store::codec::decode(value)?)
}

fn uid(hex: &str) -> Result<Uid> {
    Ok(serde_json::from_value(Value::String(hex.to_owned()))?)
}

fn uuid(uid: Uid) -> String {
    let hex = uid.to_string();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
