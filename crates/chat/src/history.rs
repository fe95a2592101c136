//! A history from elsewhere, brought in as if it had happened here.
//!
//! Lines name app instances, users, channels, who is in them and what was said; each becomes its
//! record, with the index rows and counters that follow from it. Invariants: ids and times are those
//! of the file, names stand there before they are referred to; a message's own id is kept beside
//! its record and found by an index row; what comes out passes `db check`. Users and channels are
//! kept in memory, messages are not.

mod line;
mod rows;

use std::collections::HashMap;
use std::sync::Arc;

use store::moving::{FileError, Lines, Page, Pages};
use store::{Entropy, HomeRow, Stamp, Uid};

use crate::check::Proof;
use crate::identity::app_instance;
use crate::identity::app_instance_admin::AppInstanceAdmin;
use crate::identity::app_instance_user::AppInstanceUser;
use crate::ids;
use crate::messaging::channel;
use crate::messaging::channel_ban::ChannelBan;
use crate::messaging::channel_membership::ChannelMembership;
use crate::messaging::channel_message::ChannelMessage;
use crate::messaging::channel_moderator::ChannelModerator;
use crate::principal::{Kind, Principal};

pub(crate) use line::{AppInstance, Channel, Membership, Message, Moment, User};

use line::Line;
use rows::Rows;

/// What the first line calls a file of this form.
const FORM: &str = "history";
/// The version of the lines that this release reads.
const VERSION: u32 = 1;
/// How far a time may lie ahead of the clock.
const AHEAD_MS_MAX: i64 = 60_000;

/// Where a history is brought in.
pub struct Place {
    /// The region of every ARN.
    pub region: String,
    /// The account of every ARN.
    pub account: String,
    /// The time that it is.
    pub now_ms: i64,
    /// The source of uids and secrets.
    pub entropy: Arc<dyn Entropy>,
}

/// Reads a history.
pub struct History {
    lines: Lines,
    rows: Rows,
    place: Place,
    app_instance: Option<Uid>,
    users: HashMap<(Uid, String), Person>,
    channels: HashMap<(Uid, String), Room>,
    is_over: bool,
}

/// A user, or somebody who was one.
struct Person {
    uid: Uid,
    name: String,
    is_user: bool,
}

/// A channel that was read.
struct Room {
    uid: Uid,
    home: HomeRow,
    /// Whether somebody is in it, so that nobody can be banned any more.
    has_people: bool,
}

/// What is wrong with a line.
type Problem = &'static str;

impl History {
    /// Reads the first line, at which `lines` stands.
    ///
    /// # Errors
    /// When the file is none of ours, or a later release's.
    pub fn begin(lines: Lines, place: Place) -> Result<Self, FileError> {
        let header = lines.text().map(serde_json::from_str::<serde_json::Value>);
        let Some(Ok(header)) = header else { return Err(FileError::Foreign) };
        let version = header.get("version").and_then(serde_json::Value::as_u64);
        match (header.get("campanile"), version.map(u32::try_from)) {
            (Some(form), Some(Ok(VERSION))) if form == FORM => {}
            (Some(form), Some(Ok(found))) if form == FORM && found > VERSION => {
                return Err(FileError::Version { found, known: VERSION });
            }
            _ => return Err(FileError::Foreign),
        }
        let mut rows = Rows::default();
        rows.settings(&place);
        let (users, channels) = (HashMap::new(), HashMap::new());
        Ok(Self { lines, rows, place, app_instance: None, users, channels, is_over: false })
    }

    /// Takes in one line, and tells whether it was the last.
    fn take(&mut self) -> Result<bool, FileError> {
        if !self.lines.advance()? {
            return Err(FileError::Cut);
        }
        let line = self.lines.text().map(serde_json::from_str::<Line>);
        let line = match line {
            Some(Ok(line)) => line,
            // The cause may quote the line.
            _ => return Err(self.lines.wrong("it is none of the lines that docs/moving.md lists")),
        };
        if let Line::End(end) = line {
            let is_right = end.lines == self.lines.number() - 1
                && end.sha256.is_none_or(|sha256| sha256 == self.lines.hash_before());
            if !is_right || self.lines.advance()? {
                return Err(FileError::Changed);
            }
            self.close();
            return Ok(true);
        }
        self.put(line).map_err(|problem| self.lines.wrong(problem))?;
        Ok(false)
    }

    fn put(&mut self, line: Line) -> Result<(), Problem> {
        match line {
            Line::AppInstance(line) => self.app_instance(&line),
            Line::User(line) => self.user(line),
            Line::Admin(line) => self.admin(&line),
            Line::Channel(line) => self.channel(line),
            Line::Ban(line) => self.ban(&line),
            Line::Moderator(line) => self.moderator(&line),
            Line::Membership(line) => self.membership(&line),
            Line::Message(line) => self.message(*line),
            Line::End(_) => Ok(()),
        }
    }

    fn app_instance(&mut self, line: &AppInstance) -> Result<(), Problem> {
        let uid = ids::parse_uuid(&line.id);
        let uid = uid.ok_or("the id of an app instance is a lower-case UUID")?;
        self.check_times(&[Some(line.created), line.updated])?;
        check_name(&line.name, line.metadata.as_deref())?;
        let record = app_instance::AppInstance::imported(uid, line);
        self.app_instance = Some(uid);
        self.add_below(&record, line.created)
    }

    fn user(&mut self, line: User) -> Result<(), Problem> {
        let app_instance = self.app_instance.ok_or(NO_APP_INSTANCE)?;
        check_id(&line.id)?;
        check_name(&line.name, line.metadata.as_deref())?;
        self.check_times(&[Some(line.created), line.updated])?;
        let uid = self.uid(line.created);
        let record = AppInstanceUser::imported(app_instance, uid, &line);
        let person = Person { uid, name: line.name, is_user: true };
        if self.users.insert((app_instance, line.id), person).is_some() {
            return Err("the id of the user was used before");
        }
        self.add_below(&record, line.created)
    }

    fn admin(&mut self, line: &line::Role) -> Result<(), Problem> {
        let (app_instance, admin) = self.principal(&line.user)?;
        self.check_times(&[Some(line.created)])?;
        let record = AppInstanceAdmin::imported(app_instance, admin, line.created);
        self.add_below(&record, line.created)
    }

    fn channel(&mut self, line: Channel) -> Result<(), Problem> {
        check_id(&line.id)?;
        check_name(&line.name, line.metadata.as_deref())?;
        self.check_times(&[Some(line.created), line.updated])?;
        let (app_instance, creator) = self.principal(&line.created_by)?;
        let uid = self.uid(line.created);
        let record = channel::Channel::imported(app_instance, uid, creator, &line);
        let room = Room { uid, home: HomeRow::default(), has_people: false };
        let key = (app_instance, line.id);
        if self.channels.insert(key.clone(), room).is_some() {
            return Err("the id of the channel was used before");
        }
        self.add_in(&key, &record, line.created)
    }

    fn ban(&mut self, line: &line::ByChannel) -> Result<(), Problem> {
        let (key, uid, user, by) = self.place_in(line)?;
        if self.channels.get(&key).is_some_and(|room| room.has_people) {
            return Err("the bans of a channel stand before its moderators and members");
        }
        self.rows.ban(uid, user.uid);
        let record = ChannelBan::imported((uid, &line.channel), user, by, line.created);
        self.add_in(&key, &record, line.created)
    }

    fn moderator(&mut self, line: &line::ByChannel) -> Result<(), Problem> {
        let (key, uid, user, by) = self.place_in(line)?;
        self.enter(&key, user.uid)?;
        let record = ChannelModerator::imported((uid, &line.channel), user, by, line.created);
        self.add_in(&key, &record, line.created)
    }

    fn membership(&mut self, line: &Membership) -> Result<(), Problem> {
        let (app_instance, member) = self.principal(&line.user)?;
        let (_, invited_by) = self.principal(&line.invited_by)?;
        self.check_times(&[Some(line.created)])?;
        let key = (app_instance, line.channel.clone());
        let channel = self.room(&key)?.uid;
        self.enter(&key, member.uid)?;
        let record = ChannelMembership::imported(channel, member, invited_by, line);
        self.add_in(&key, &record, line.created)
    }

    fn message(&mut self, mut line: Message) -> Result<(), Problem> {
        let app_instance = self.app_instance.ok_or(NO_APP_INSTANCE)?;
        self.check_times(&[Some(line.created), line.edited, line.updated])?;
        let sender = self.sender(app_instance, &line)?;
        let key = (app_instance, std::mem::take(&mut line.channel));
        let room = self.room(&key)?;
        let ms = u64::try_from(line.created.0).unwrap_or(0);
        if ms < room.home.last_message_ms.unwrap_or(0) {
            return Err("the messages of a channel stand in the order of their times");
        }
        room.home.seq += 1;
        room.home.last_ms = room.home.last_ms.max(ms);
        room.home.last_message_ms = Some(ms);
        let (uid, stamp) = (room.uid, Stamp { ms, seq: room.home.seq });
        let record = ChannelMessage::imported(uid, stamp, sender, line)?;
        self.rows.put(&record, stamp, &*self.place.entropy);
        Ok(())
    }

    /// Returns who said something, under the name of that time.
    fn sender(&mut self, app_instance: Uid, line: &Message) -> Result<Principal, Problem> {
        let key = (app_instance, line.sender.clone());
        if !self.users.contains_key(&key) {
            let name = line.sender_name.clone().ok_or(NO_USER)?;
            check_id(&line.sender)?;
            let uid = self.uid(line.created);
            self.users.insert(key.clone(), Person { uid, name, is_user: false });
        }
        let person = self.users.get(&key).ok_or(NO_USER)?;
        if !person.is_user && line.sender_name.is_none() {
            return Err(NO_USER);
        }
        let name = line.sender_name.clone().unwrap_or_else(|| person.name.clone());
        check_name(&name, None)?;
        Ok(Principal { uid: person.uid, kind: Kind::User, id: line.sender.clone(), name })
    }

    /// Returns the user of the current app instance who has this id.
    fn principal(&self, id: &str) -> Result<(Uid, Principal), Problem> {
        let app_instance = self.app_instance.ok_or(NO_APP_INSTANCE)?;
        let person = self.users.get(&(app_instance, id.to_owned()));
        let person = person.filter(|person| person.is_user).ok_or(NO_USER)?;
        let (uid, name) = (person.uid, person.name.clone());
        Ok((app_instance, Principal { uid, kind: Kind::User, id: id.to_owned(), name }))
    }

    fn place_in(
        &mut self,
        line: &line::ByChannel,
    ) -> Result<((Uid, String), Uid, Principal, Principal), Problem> {
        let (app_instance, user) = self.principal(&line.user)?;
        let (_, by) = self.principal(&line.created_by)?;
        self.check_times(&[Some(line.created)])?;
        let key = (app_instance, line.channel.clone());
        let uid = self.room(&key)?.uid;
        Ok((key, uid, user, by))
    }

    fn room(&mut self, key: &(Uid, String)) -> Result<&mut Room, Problem> {
        self.channels.get_mut(key).ok_or("the channel does not stand before it")
    }

    /// Lets somebody into a channel.
    fn enter(&mut self, key: &(Uid, String), user: Uid) -> Result<(), Problem> {
        let room = self.channels.get_mut(key).ok_or("the channel does not stand before it")?;
        room.has_people = true;
        let is_banned = self.rows.is_banned(room.uid, user);
        if is_banned { Err("the user is banned from the channel") } else { Ok(()) }
    }

    /// Adds a record that belongs to the home of a channel.
    fn add_in<R: Proof>(
        &mut self,
        key: &(Uid, String),
        record: &R,
        created: Moment,
    ) -> Result<(), Problem> {
        let room = self.room(key)?;
        let ms = u64::try_from(created.0).unwrap_or(0);
        room.home.seq += 1;
        room.home.last_ms = room.home.last_ms.max(ms);
        let stamp = Stamp { ms: room.home.last_ms, seq: room.home.seq };
        self.rows.put(record, stamp, &*self.place.entropy);
        Ok(())
    }

    /// Adds a record of a home that nothing is said in.
    fn add_below<R: Proof>(&mut self, record: &R, created: Moment) -> Result<(), Problem> {
        let stamp = Stamp { ms: u64::try_from(created.0).unwrap_or(0), seq: 1 };
        self.rows.put(record, stamp, &*self.place.entropy);
        Ok(())
    }

    fn uid(&self, created: Moment) -> Uid {
        ids::uid(created.0, &*self.place.entropy)
    }

    fn check_times(&self, times: &[Option<Moment>]) -> Result<(), Problem> {
        let latest = Moment(self.place.now_ms + AHEAD_MS_MAX);
        let is_ahead = times.iter().flatten().any(|time| *time > latest);
        if is_ahead { Err("a time lies in the future") } else { Ok(()) }
    }

    /// Adds what is known only in the end: the homes and the counters.
    fn close(&mut self) {
        for room in std::mem::take(&mut self.channels).into_values() {
            self.rows.home(room.uid, room.home);
        }
        self.rows.close();
        self.is_over = true;
    }
}

impl Pages for History {
    fn next(&mut self) -> Result<Option<Page>, FileError> {
        while !self.is_over {
            if let Some(page) = self.rows.full() {
                return Ok(Some(page));
            }
            if self.take()? {
                break;
            }
        }
        Ok(self.rows.rest())
    }
}

const NO_APP_INSTANCE: Problem = "an app instance stands before everything else";
const NO_USER: Problem = "the user does not stand before it";

/// Longest names and metadata, as the model has them.
const NAME_CHARS_MAX: usize = 256;
const METADATA_CHARS_MAX: usize = 1_024;
const ID_CHARS_MAX: usize = 64;

/// Checks an id that a caller of the API might have chosen.
fn check_id(id: &str) -> Result<(), Problem> {
    let bytes = id.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || b":-_.@".contains(byte);
    let fits = bytes.len() <= ID_CHARS_MAX && bytes.iter().all(is_inner);
    let is_id = fits && is_end(bytes.first()) && is_end(bytes.last());
    if is_id { Ok(()) } else { Err("an id has 1 to 64 letters, digits and, inside, : - _ . @") }
}

fn check_name(name: &str, metadata: Option<&str>) -> Result<(), Problem> {
    let is_name = !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX;
    if !is_name || metadata.is_some_and(|text| text.chars().count() > METADATA_CHARS_MAX) {
        return Err("a name has 1 to 256 characters, metadata at most 1024");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
