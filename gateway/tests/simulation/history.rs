//! What clients saw, key by key, and the story of everything that happened.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::objects::Payload;
use crate::register::{Action, Moment, Operation, check};

/// The record of one simulation.
pub struct History {
    log: Mutex<Log>,
    /// Whether the story is told aloud as it goes.
    is_loud: bool,
}

#[derive(Default)]
struct Log {
    now: Moment,
    names: u64,
    keys: BTreeMap<String, Vec<Operation>>,
    /// What each value that was ever to be written consists of.
    values: BTreeMap<u64, Vec<Payload>>,
    story: Vec<String>,
}

impl History {
    pub fn new(is_loud: bool) -> Self {
        let log = Mutex::default();
        Self { log, is_loud }
    }

    /// A call begins or ends now.
    pub fn moment(&self) -> Moment {
        let mut log = self.log.lock().unwrap();
        log.now += 1;
        log.now
    }

    /// A name that no other body or value has.
    pub fn name(&self) -> u64 {
        let mut log = self.log.lock().unwrap();
        log.names += 1;
        log.names
    }

    /// Says what a value consists of, before it is written.
    pub fn declare(&self, value: u64, payloads: Vec<Payload>) {
        self.log.lock().unwrap().values.insert(value, payloads);
    }

    /// What the value consists of.
    pub fn payloads(&self, value: u64) -> Vec<Payload> {
        self.log.lock().unwrap().values[&value].clone()
    }

    /// An operation that was answered now.
    pub fn saw(&self, key: &str, began: Moment, action: Action) {
        self.note(key, began, action, true);
    }

    /// An operation that was cut off now, and took effect or not.
    pub fn lost(&self, key: &str, began: Moment, action: Action) {
        self.note(key, began, action, false);
    }

    fn note(&self, key: &str, began: Moment, action: Action, certain: bool) {
        let ended = self.moment();
        self.tell(format!("{key} {action:?} {began}..{ended} {certain}"));
        let operation = Operation {
            action,
            began,
            ended,
            certain,
        };
        let mut log = self.log.lock().unwrap();
        log.keys.entry(key.into()).or_default().push(operation);
    }

    /// Takes something that happened into the story.
    pub fn tell(&self, what: String) {
        if self.is_loud {
            println!("{what}");
        }
        self.log.lock().unwrap().story.push(what);
    }

    pub fn story(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap().story)
    }

    /// Asserts that every key was a register: each read saw what some order of the writes had left.
    pub fn assert_registers(&self) {
        for (key, operations) in &self.log.lock().unwrap().keys {
            if let Err(violation) = check(None, operations) {
                for (number, operation) in operations.iter().enumerate() {
                    println!("{number}: {operation:?}");
                }
                panic!("{key} was no register: {violation:?}");
            }
        }
    }
}
