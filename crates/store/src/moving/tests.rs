//! A move: from folder to file to folder, and every way in which a file is not what was written.

use std::io::Cursor;
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::clock::SystemClock;
use crate::codec;
use crate::conformance::TABLES;
use crate::engine::{Add, Audience, Batch, Engine, Event, Options, Put};
use crate::entropy::SystemEntropy;
use crate::id::Uid;
use crate::key::Direction;
use crate::sqlite::{self, DATABASE_FILE, IMPORT_FILE, OpenError};
use crate::table::{SETTING, with_builtin};

const HALL: Uid = Uid([2; 16]);

fn options() -> Options {
    Options {
        tables: TABLES.to_vec(),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        sink: None,
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Values that JSON in a line must not change: text of every kind, and bytes that are no JSON.
fn values() -> Vec<Vec<u8>> {
    let texts = ["plain", "\"quoted\" and \\", "line\nbreak", "\u{0} \u{1f980} é \u{2028}"];
    let records = texts.map(|text| codec::encode(&serde_json::json!({ "text": text })));
    let odd: [&[u8]; 8] = [
        b"",
        b"\x01",
        b"\x01{}",
        b"\x01{\"a\": 1} ",
        b"\x01[1]",
        b"\x01{\"broken",
        b"\x01{\"a\":\"\xff\"}",
        b"us-east-1/000000000000",
    ];
    records.into_iter().chain(odd.map(<[u8]>::to_vec)).collect()
}

/// Fills a store with rows of every kind.
async fn fill(dir: &Path) {
    let engine = sqlite::open(dir, options()).expect("opens");
    for (value, number) in values().into_iter().zip(0..) {
        let mut batch = Batch::new("test", HALL);
        batch.marks_message = number == 2;
        batch.puts.push(Put { key: Key::new(TABLES[0]).u8(number), value: value.clone() });
        batch
            .puts
            .push(Put { key: Key::new(TABLES[1]).stamped().u8(number), value: value.clone() });
        batch.puts.push(Put { key: Key::new(&SETTING).u8(number), value });
        let delta = i64::from(number) - 3;
        batch.adds.push(Add { key: Key::new(TABLES[2]).u8(number), delta, max: None });
        let body = Arc::new(());
        let reference = Some(b"reference".to_vec());
        batch.events.push(Event { audience: Audience::Internal, body, reference });
        engine.commit(batch).await.expect("nothing is checked");
    }
    engine.close().await;
}

async fn all(engine: &dyn Engine) -> Vec<Vec<Entry>> {
    let tables = with_builtin(&TABLES);
    let ranges: Vec<Range> =
        tables.into_iter().map(|table| Range::prefix(Key::new(table))).collect();
    engine.scan(&ranges, usize::MAX, Direction::Forward, false).await.expect("reads")
}

/// Lets the writer's thread and the test share the bytes.
#[derive(Clone, Default)]
struct Sheet(Arc<Mutex<Vec<u8>>>);

impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn header() -> Header {
    Header::new("here".into(), "me".into(), "0".into(), "now".into())
}

async fn exported(dir: &Path) -> Vec<u8> {
    let tables = with_builtin(&TABLES);
    let mut source = sqlite::export(dir, tables.clone()).expect("opens");
    let sheet = Sheet::default();
    let progress = Arc::default();
    export(&mut *source, &tables, header(), sheet.clone(), &progress, || {})
        .await
        .expect("is written");
    let bytes = sheet.0.lock().expect("no panic").clone();
    assert_eq!(
        progress.bytes.load(Ordering::Relaxed) > 0,
        progress.rows.load(Ordering::Relaxed) > 0
    );
    bytes
}

fn reader(file: &[u8]) -> Result<Reader, FileError> {
    let mut lines = Lines::new(Box::new(Cursor::new(file.to_vec())), Arc::default());
    if !lines.advance()? {
        return Err(FileError::Cut);
    }
    match Reader::begin(lines, with_builtin(&TABLES))? {
        Ok((reader, found)) => {
            assert_eq!(found, header());
            Ok(reader)
        }
        Err(_) => Err(FileError::Foreign),
    }
}

async fn imported(file: &[u8], dir: &Path) -> Result<(), MoveError> {
    let reader = reader(file)?;
    let target = sqlite::import(dir, with_builtin(&TABLES)).expect("is empty");
    import(Box::new(reader), target, &Progress::default(), || {}).await
}

#[test]
fn format_of_rows_is_one_on_all_engines() {
    assert_eq!(i64::from(STORE_FORMAT), sqlite::FORMAT);
    assert_eq!(i64::from(STORE_FORMAT), i64::from(crate::postgres::FORMAT));
}

#[tokio::test]
async fn every_row_comes_back_as_it_was() {
    let dir = folder();
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    fill(&here).await;
    let file = exported(&here).await;
    imported(&file, &there).await.expect("is whole");
    let engine = sqlite::open(&here, options()).expect("opens");
    let before = all(&*engine).await;
    engine.close().await;
    let engine = sqlite::open(&there, options()).expect("opens");
    assert_eq!(all(&*engine).await, before);
    assert!(before.iter().all(|rows| !rows.is_empty()), "each kind of table was filled");
    let stamp = engine.commit(Batch::new("test", HALL)).await.expect("nothing is checked");
    assert_eq!(stamp.seq, u64::try_from(values().len()).expect("is small") + 1);
    engine.close().await;
    assert_eq!(exported(&here).await, file, "an export changes nothing");
    assert!(!there.join(IMPORT_FILE).exists());
}

/// Leaves no part of itself: the folder can be used for another import.
async fn assert_refused(file: &[u8], expected: &str) {
    let dir = folder();
    let refused = imported(file, dir.path()).await.expect_err("is refused").to_string();
    assert!(refused.contains(expected), "{refused}");
    assert!(!refused.contains('\n'));
    for name in [DATABASE_FILE, IMPORT_FILE] {
        assert!(!dir.path().join(name).exists(), "{name} is left");
    }
}

#[tokio::test]
async fn a_file_that_was_changed_cut_or_prolonged_is_refused_and_leaves_nothing() {
    let dir = folder();
    fill(dir.path()).await;
    let file = exported(dir.path()).await;
    let text = String::from_utf8(file.clone()).expect("is text");
    let lines: Vec<&str> = text.lines().collect();
    let join = |lines: &[&str]| [lines.join("\n").as_bytes(), b"\n"].concat();

    for length in [file.len() - 1, file.len() / 2, lines[0].len() + 1] {
        assert_refused(&file[..length], "not whole").await;
    }
    assert_refused(&join(&lines[..lines.len() - 1]), "not whole").await;
    assert_refused(b"", "not whole").await;
    assert_refused(&text.replacen("plain", "plein", 1).into_bytes(), "was changed").await;
    assert_refused(&[&file[..], b"\n"].concat(), "was changed").await;
    assert_refused(&[&file[..], &file[..]].concat(), "was changed").await;

    let mut fewer = lines.clone();
    fewer.remove(2);
    assert_refused(&join(&fewer), "was changed").await;
    let mut twice = lines.clone();
    twice.insert(2, lines[2]);
    assert_refused(&join(&twice), "line 4 ").await;
    let mut strange = lines.clone();
    strange.insert(1, r#"{"table":"strange","kind":"record"}"#);
    assert_refused(&join(&strange), "no such table").await;
    let mut other = lines.clone();
    let kind = lines[1].replace(r#""kind":"home""#, r#""kind":"index""#);
    other[1] = &kind;
    assert_refused(&join(&other), "another kind").await;
    assert_refused(&join(&[lines[0], lines[2]]), "line 2 ").await;
    assert_refused(&join(&[lines[0], "[broken"]), "line 2 ").await;
}

#[tokio::test]
async fn a_file_of_another_form_or_version_is_refused_before_anything_is_made() {
    let dir = folder();
    let head = serde_json::to_string(&header()).expect("is plain");
    let newer = head.replace(r#""version":1"#, r#""version":2"#);
    let newer_rows = head.replace(r#""store_format":1"#, r#""store_format":2"#);
    assert!(newer != head && newer_rows != head);
    for (text, expected) in [
        ("hello", "not an export"),
        ("{}", "not an export"),
        ("[1,2]", "not an export"),
        (r#"{"campanile":"store"}"#, "not an export"),
        (&*newer, "has version 2"),
        (&*newer_rows, "has version 2"),
    ] {
        let refused = reader(format!("{text}\n").as_bytes()).err().expect("is refused");
        assert!(refused.to_string().contains(expected), "{text}: {refused}");
    }
    let refused = reader(&vec![b'x'; 5 << 20]).err().expect("is refused");
    assert!(matches!(refused, FileError::Foreign), "{refused}");
    assert!(!dir.path().join(IMPORT_FILE).exists());
}

#[tokio::test]
async fn only_an_empty_folder_takes_an_import() {
    let dir = folder();
    fill(dir.path()).await;
    let refused = sqlite::import(dir.path(), with_builtin(&TABLES)).err().expect("is refused");
    assert!(matches!(refused, OpenError::NotEmpty(_)), "{refused}");
    // The log of another database would be read into the new one.
    let dir = folder();
    std::fs::write(dir.path().join("campanile.db-wal"), b"x").expect("is written");
    let refused = sqlite::import(dir.path(), with_builtin(&TABLES)).err().expect("is refused");
    assert!(matches!(refused, OpenError::NotEmpty(_)), "{refused}");
}

#[tokio::test]
async fn folder_of_an_import_is_locked_and_one_that_was_interrupted_is_not_served() {
    let dir = folder();
    fill(&dir.path().join("here")).await;
    let file = exported(&dir.path().join("here")).await;
    let there = dir.path().join("there");
    let target = sqlite::import(&there, with_builtin(&TABLES)).expect("is empty");
    let refused = sqlite::open(&there, options()).err().expect("is refused");
    assert!(matches!(refused, OpenError::Locked(_)), "{refused}");
    drop(target);
    // As `kill -9` leaves it.
    std::fs::write(there.join(IMPORT_FILE), b"half").expect("is written");
    let refused = sqlite::open(&there, options()).err().expect("is refused");
    assert!(matches!(refused, OpenError::Importing(_)), "{refused}");
    assert!(!there.join(DATABASE_FILE).exists());
    imported(&file, &there).await.expect("takes the place of the half one");
    sqlite::open(&there, options()).expect("opens").close().await;
}

/// Fails after some bytes, as a full disk does.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_export_that_cannot_be_written_says_so() {
    let dir = folder();
    fill(dir.path()).await;
    let tables = with_builtin(&TABLES);
    for room in [0, 100] {
        let mut source = sqlite::export(dir.path(), tables.clone()).expect("opens");
        let out = Full(room);
        let progress = Arc::default();
        let refused = export(&mut *source, &tables, header(), out, &progress, || {}).await;
        assert!(matches!(refused, Err(MoveError::Write(_))), "{refused:?}");
    }
}
