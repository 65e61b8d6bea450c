//! What the clients of one round did and saw, operation by operation, and whether it can be true.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use compat_tests::Payload;

use crate::objects::value_of;
use crate::register::{Action, Moment, Operation, Value, Violation, check};

/// As whose the values stand that were there before.
const BEFORE: usize = 999;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Put(u64),
    /// Put with If-None-Match: *.
    Create(u64),
    /// Put with If-Match.
    Replace {
        expected: u64,
        value: u64,
    },
    Delete,
    Get,
    Head,
    List,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A change was acknowledged.
    Done,
    /// Its condition was not met.
    Refused,
    /// The value that was read.
    Saw(Value),
    /// Nothing, and that is certain.
    Failed(String),
    /// A change happened or not, or will.
    Unknown(String),
}

/// A body that somebody wrote, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    /// Names it among all of its run.
    pub(crate) value: u64,
    pub(crate) payload: Payload,
    /// Without quotes.
    pub(crate) etag: String,
}

/// An operation on one key. A list is one on each.
#[derive(Debug, Clone)]
struct Record {
    client: usize,
    key: usize,
    intent: Intent,
    began: Moment,
    began_at: Duration,
    end: Option<End>,
}

#[derive(Debug, Clone)]
struct End {
    outcome: Outcome,
    at: Duration,
    /// For an unknown outcome, when it can no longer take effect.
    moment: Moment,
}

/// The record of all clients. Keys are numbers below that of the initial values.
#[derive(Debug)]
pub(crate) struct History {
    began: Instant,
    initial: Vec<Option<Written>>,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    now: Moment,
    records: Vec<Record>,
    written: HashMap<(usize, String), Written>,
    lies: Vec<Lie>,
}

/// Something that no order of the operations could explain.
#[derive(Debug, Clone)]
pub(crate) struct Lie {
    /// The key it is about, if it is about one.
    pub(crate) key: Option<usize>,
    pub(crate) what: String,
}

/// A single operation, or a list, that has begun.
#[derive(Debug)]
pub(crate) struct Ticket(Record);

impl History {
    /// Nothing yet; the keys hold `initial`.
    pub(crate) fn new(mut initial: Vec<Option<Written>>) -> Self {
        let mut log = Log::default();
        for (key, written) in initial.iter_mut().enumerate() {
            if let Some(written) = written {
                // Those who write in this round count from the beginning again.
                written.value = value_of(BEFORE, key);
                let name = (key, written.etag.clone());
                log.written.insert(name, written.clone());
            }
        }
        Self {
            began: Instant::now(),
            initial,
            log: Mutex::new(log),
        }
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        self.initial.len()
    }

    /// Time since the round began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Notes that a body will be sent, before it is.
    pub(crate) fn declare(&self, key: usize, written: Written) {
        let name = (key, written.etag.clone());
        self.lock().written.insert(name, written);
    }

    /// The body of a key that has this ETag; none if nobody ever sent it.
    pub(crate) fn with_etag(&self, key: usize, etag: &str) -> Option<Written> {
        let name = (key, etag.trim_matches('"').to_owned());
        self.lock().written.get(&name).cloned()
    }

    /// The body of a key that is this value.
    pub(crate) fn of_value(&self, key: usize, value: u64) -> Option<Written> {
        let log = self.lock();
        let mut written = log.written.iter();
        let found = written.find(|((of, _), written)| (*of, written.value) == (key, value));
        found.map(|(_, written)| written.clone())
    }

    /// Notes a call before it is made.
    pub(crate) fn begin(&self, client: usize, key: usize, intent: Intent) -> Ticket {
        Ticket(Record {
            client,
            key,
            intent,
            began: self.lock().tick(),
            began_at: self.elapsed(),
            end: None,
        })
    }

    /// Notes what came of it.
    pub(crate) fn end(&self, ticket: Ticket, outcome: Outcome) {
        let mut log = self.lock();
        let moment = match outcome {
            Outcome::Unknown(_) => Moment::MAX,
            _ => log.tick(),
        };
        let at = self.elapsed();
        log.records.push(Record {
            end: Some(End {
                outcome,
                at,
                moment,
            }),
            ..ticket.0
        });
    }

    /// Notes what a list showed of every key.
    pub(crate) fn end_list(&self, ticket: &Ticket, shown: &BTreeMap<usize, u64>) {
        for key in 0..self.keys() {
            let of_key = Ticket(Record {
                key,
                ..ticket.0.clone()
            });
            self.end(of_key, Outcome::Saw(shown.get(&key).copied()));
        }
    }

    /// Notes that whatever was answered with an unknown outcome by now cannot take effect any more:
    /// the process that might have brought it about is dead.
    pub(crate) fn settle(&self) {
        let mut log = self.lock();
        let now = log.tick();
        let ends = log
            .records
            .iter_mut()
            .filter_map(|record| record.end.as_mut());
        for end in ends.filter(|end| end.moment == Moment::MAX) {
            end.moment = now;
        }
    }

    /// Notes something that cannot be true in any order.
    pub(crate) fn lie(&self, key: Option<usize>, what: String) {
        self.lock().lies.push(Lie { key, what });
    }

    /// Whether something was noted that cannot be true.
    pub(crate) fn has_lies(&self) -> bool {
        !self.lock().lies.is_empty()
    }

    /// Everything that cannot be true: what was noted, and keys that were no registers.
    pub(crate) fn lies(&self) -> Vec<Lie> {
        let log = self.lock();
        let mut lies = log.lies.clone();
        for key in 0..self.keys() {
            let mut records: Vec<_> = log.of_key(key).collect();
            records.retain(|record| record.operation().is_some());
            let operations: Vec<_> = records.iter().filter_map(|it| it.operation()).collect();
            let initial = self.initial[key].as_ref().map(|written| written.value);
            let what = match check(initial, &operations) {
                Ok(()) => continue,
                Err(Violation::Impossible { operation, held }) => format!(
                    "this cannot be, since it could only hold {}:\n  {}",
                    held.iter().map(name_of).collect::<Vec<_>>().join(" or "),
                    records[operation]
                ),
                Err(Violation::TooManyPasts { operation }) => {
                    format!("too many possible pasts at:\n  {}", records[operation])
                }
            };
            lies.push(Lie {
                key: Some(key),
                what,
            });
        }
        lies
    }

    /// What happened to a key, for people.
    pub(crate) fn of_key(&self, key: usize) -> String {
        let initial = self.initial[key].as_ref().map(|written| written.value);
        let mut text = format!("  it began with {}\n", name_of(&initial));
        for record in self.lock().of_key(key) {
            text.push_str(&format!("  {record}\n"));
        }
        text
    }

    /// How many changes were acknowledged, and how many reads answered.
    pub(crate) fn done(&self) -> (usize, usize) {
        let log = self.lock();
        let outcomes = log.records.iter().filter(|it| it.intent != Intent::List);
        let outcomes = outcomes.filter_map(|it| Some(&it.end.as_ref()?.outcome));
        outcomes.fold((0, 0), |(changes, reads), outcome| match outcome {
            Outcome::Done => (changes + 1, reads),
            Outcome::Saw(_) => (changes, reads + 1),
            Outcome::Refused | Outcome::Failed(_) | Outcome::Unknown(_) => (changes, reads),
        })
    }

    /// How many operations had which outcome, for people.
    pub(crate) fn summary(&self) -> String {
        let log = self.lock();
        let mut counts = BTreeMap::<&str, usize>::new();
        let single = log.records.iter().filter(|it| it.intent != Intent::List);
        for record in single {
            let outcome = record.end.as_ref().map(|end| &end.outcome);
            let word = match outcome {
                Some(Outcome::Done) => "changes",
                Some(Outcome::Refused) => "refusals",
                Some(Outcome::Saw(_)) => "reads",
                Some(Outcome::Failed(_)) => "failures",
                Some(Outcome::Unknown(_)) | None => "unknown outcomes",
            };
            *counts.entry(word).or_default() += 1;
        }
        let lists = log.records.len() - counts.values().sum::<usize>();
        counts.insert("lists", lists / self.keys().max(1));
        let counts: Vec<_> = counts
            .iter()
            .map(|(word, n)| format!("{n} {word}"))
            .collect();
        counts.join(", ")
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    /// The records of a key, in the order of their calls.
    fn of_key(&self, key: usize) -> impl Iterator<Item = &Record> {
        let mut records: Vec<_> = self.records.iter().filter(|it| it.key == key).collect();
        records.sort_by_key(|record| record.began);
        records.into_iter()
    }
}

impl Record {
    /// It as the register knows it; none where it says nothing.
    fn operation(&self) -> Option<Operation> {
        let end = self.end.as_ref()?;
        let change = match self.intent {
            Intent::Put(value) => Some(Action::Write(Some(value))),
            Intent::Create(value) => Some(Action::Create(value)),
            Intent::Replace { expected, value } => Some(Action::Replace { expected, value }),
            Intent::Delete => Some(Action::Write(None)),
            Intent::Get | Intent::Head | Intent::List => None,
        };
        let action = match (&end.outcome, self.intent) {
            (Outcome::Done | Outcome::Unknown(_), _) => change?,
            (Outcome::Refused, Intent::Replace { expected, .. }) => {
                Action::ReplaceRefused { expected }
            }
            (Outcome::Refused, _) => Action::CreateRefused,
            (Outcome::Saw(value), _) => Action::Read(*value),
            (Outcome::Failed(_), _) => return None,
        };
        Some(Operation {
            action,
            began: self.began,
            ended: end.moment,
            certain: !matches!(end.outcome, Outcome::Unknown(_)),
        })
    }
}

/// A value, for people: which client's, and its number there.
fn name_of(value: &Value) -> String {
    match value {
        Some(value) => format!("{}.{}", value >> 32, value & 0xffff_ffff),
        None => "nothing".to_owned(),
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (began, client) = (self.began_at.as_secs_f64(), self.client);
        write!(f, "{began:9.3} s  client {client}: ")?;
        match self.intent {
            Intent::Put(value) => write!(f, "put {}", name_of(&Some(value)))?,
            Intent::Create(value) => write!(f, "create {}", name_of(&Some(value)))?,
            Intent::Replace { expected, value } => {
                let (expected, value) = (name_of(&Some(expected)), name_of(&Some(value)));
                write!(f, "replace {expected} by {value}")?;
            }
            Intent::Delete => f.write_str("delete")?,
            Intent::Get => f.write_str("get")?,
            Intent::Head => f.write_str("head")?,
            Intent::List => f.write_str("list")?,
        }
        let Some(end) = &self.end else {
            return f.write_str(" …");
        };
        match &end.outcome {
            Outcome::Done => f.write_str(": done")?,
            Outcome::Refused => f.write_str(": refused")?,
            Outcome::Saw(value) => write!(f, ": {}", name_of(value))?,
            Outcome::Failed(why) => write!(f, ": failed, {why}")?,
            Outcome::Unknown(why) => write!(f, ": unknown, {why}")?,
        }
        write!(f, " at {:.3} s", end.at.as_secs_f64())
    }
}
