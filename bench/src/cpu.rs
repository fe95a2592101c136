//! CPU time and memory of processes, from /proc.
//!
//! The kernel counts in ticks of 10 ms, so figures come from runs of seconds and thousands of
//! units. On a system without /proc the figures read as zero.

use std::fs;
use std::time::Duration;

/// The tick of /proc/PID/stat, which is the same on every Linux.
const TICK: Duration = Duration::from_millis(10);
/// Places of utime, stime, cutime and cstime behind the name's closing bracket.
const OWN: [usize; 2] = [11, 12];
const REAPED: [usize; 2] = [13, 14];

/// Whose CPU time is meant.
#[derive(Clone, Copy)]
pub(crate) enum Whose {
    /// This process.
    Own,
    /// Another process.
    Process(u32),
    /// All processes of that name, with the children that they have reaped.
    Named(&'static str),
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) resident_kib: u64,
    /// The part that is not a mapped file.
    pub(crate) anonymous_kib: u64,
    /// The most that was resident so far.
    pub(crate) peak_kib: u64,
}

impl Memory {
    /// Returns what a process has.
    pub(crate) fn of(process: u32) -> Memory {
        let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let figure = line.and_then(|rest| rest.split_whitespace().next());
            figure.and_then(|figure| figure.parse().ok()).unwrap_or_default()
        };
        Memory {
            resident_kib: field("VmRSS:"),
            anonymous_kib: field("RssAnon:"),
            peak_kib: field("VmHWM:"),
        }
    }
}

impl Whose {
    /// Returns the CPU time used so far.
    pub(crate) fn used(self) -> Duration {
        match self {
            Whose::Own => ticks("self", &OWN),
            Whose::Process(id) => ticks(&id.to_string(), &OWN),
            Whose::Named(name) => {
                processes(name).iter().map(|id| ticks(id, &[OWN, REAPED].concat())).sum()
            }
        }
    }
}

fn ticks(process: &str, places: &[usize]) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name may hold spaces and brackets; the fields begin behind its last bracket.
    let fields: Vec<&str> =
        text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |place: &usize| fields.get(*place).and_then(|field| field.parse::<u32>().ok());
    TICK * places.iter().filter_map(field).sum()
}

fn processes(name: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let named = |id: &String| {
        fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|comm| comm.trim() == name)
    };
    ids.filter(|id| id.bytes().all(|digit| digit.is_ascii_digit())).filter(named).collect()
}
