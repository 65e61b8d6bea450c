//! Whether what clients saw of one key can come from a register: each operation took effect at one
//! moment between its call and its answer, and each saw what the ones before it had left
//! (linearizability). Pure; knows nothing of S3.
//!
//! Moments are walked through in their order. At each the set of all possible pasts is kept, and when
//! an answer comes, those remain in which that operation has taken effect. None left: a violation.

use std::collections::BTreeSet;

/// What a key holds: a value that was written once only, or nothing.
pub(crate) type Value = Option<u64>;
/// A place in the order of all calls and answers; no two share one.
pub(crate) type Moment = u64;

/// Possible pasts at one moment, above which the check gives up.
const PASTS_MAX: usize = 50_000;

/// What was done, with what it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Put, or deleted.
    Write(Value),
    /// Put, as there was nothing.
    Create(u64),
    /// Not put, as there was something.
    CreateRefused,
    /// Put, as there was the expected value.
    Replace { expected: u64, value: u64 },
    /// Not put, as there was not the expected value.
    ReplaceRefused { expected: u64 },
    /// Read.
    Read(Value),
}

/// An operation on the key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    /// What was done.
    pub(crate) action: Action,
    /// The call.
    pub(crate) began: Moment,
    /// The answer; or, if its outcome is unknown, when it could no longer take effect.
    pub(crate) ended: Moment,
    /// Whether it did take effect. Otherwise it may have, once.
    pub(crate) certain: bool,
}

/// Why no order of the operations explains what was seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// At this operation's end, none of the values that the key could hold fits it.
    Impossible { operation: usize, held: Vec<Value> },
    /// There are too many possible pasts to go on.
    TooManyPasts { operation: usize },
}

impl Action {
    /// What the key holds after it; none where it could not have been answered so.
    fn after(self, held: Value) -> Option<Value> {
        match self {
            Self::Write(value) => Some(value),
            Self::Create(value) => held.is_none().then_some(Some(value)),
            Self::CreateRefused => held.is_some().then_some(held),
            Self::Replace { expected, value } => (held == Some(expected)).then_some(Some(value)),
            Self::ReplaceRefused { expected } => (held != Some(expected)).then_some(held),
            Self::Read(value) => (held == value).then_some(held),
        }
    }

    fn changes(self) -> bool {
        matches!(
            self,
            Self::Write(_) | Self::Create(_) | Self::Replace { .. }
        )
    }
}

/// A possible past: what it left in the key, and which of the open operations have taken effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Past {
    held: Value,
    done: BTreeSet<usize>,
}

/// Checks the operations of one key that held `initial` before them.
///
/// # Errors
/// The violation that shows first.
pub(crate) fn check(initial: Value, operations: &[Operation]) -> Result<(), Violation> {
    let mut events: Vec<(Moment, usize, bool)> = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        events.push((operation.began, number, true));
        events.push((operation.ended, number, false));
    }
    events.sort_unstable();
    // Behind the last answer nothing can turn out to be impossible.
    let is_answer =
        |(_, number, begins): &(Moment, usize, bool)| !begins && operations[*number].certain;
    let answered = events.iter().rposition(is_answer);
    events.truncate(answered.map_or(0, |last| last + 1));

    let mut walk = Walk {
        operations,
        open: BTreeSet::new(),
        pasts: BTreeSet::from([Past {
            held: initial,
            done: BTreeSet::new(),
        }]),
    };
    for (_, number, begins) in events {
        if begins {
            walk.open.insert(number);
        } else {
            walk.end(number)?;
        }
    }
    Ok(())
}

struct Walk<'a> {
    operations: &'a [Operation],
    /// Called and not answered at this moment.
    open: BTreeSet<usize>,
    pasts: BTreeSet<Past>,
}

impl Walk<'_> {
    /// An answer came, or the last moment of an operation whose outcome is unknown.
    fn end(&mut self, number: usize) -> Result<(), Violation> {
        let with = self.pasts_with(number);
        if !self.operations[number].certain {
            // Its last moment to take effect; or it never does.
            self.pasts.extend(with);
        } else if !with.is_empty() {
            self.pasts = with;
        } else {
            let held: BTreeSet<_> = self.pasts.iter().map(|past| past.held).collect();
            return Err(Violation::Impossible {
                operation: number,
                held: held.into_iter().collect(),
            });
        }
        if self.pasts.len() > PASTS_MAX {
            return Err(Violation::TooManyPasts { operation: number });
        }
        self.open.remove(&number);
        let closed = |mut past: Past| {
            past.done.remove(&number);
            past
        };
        self.pasts = std::mem::take(&mut self.pasts)
            .into_iter()
            .map(closed)
            .collect();
        Ok(())
    }

    /// All continuations of the possible pasts in which operation `number` is the last to have taken
    /// effect, unless it had before.
    fn pasts_with(&self, number: usize) -> BTreeSet<Past> {
        let (mut found, mut seen) = (BTreeSet::new(), Vec::new());
        // Breadth first, so that those that needed fewer operations are met before others.
        let mut frontier: Vec<Past> = self.pasts.iter().cloned().collect();
        frontier.sort_by_key(|past| past.done.len());
        while !frontier.is_empty() {
            let mut next = Vec::new();
            for past in frontier {
                let past = self.observe(past);
                if seen.iter().any(|other| self.makes_needless(other, &past)) {
                    continue;
                }
                seen.push(past.clone());
                if past.done.contains(&number) {
                    found.insert(past);
                    continue;
                }
                let undone = self.open.difference(&past.done);
                next.extend(undone.filter_map(|open| self.step(&past, *open)));
            }
            frontier = next;
        }
        found
    }

    /// Lets everything open happen that changes nothing and can happen now: the sooner the better.
    fn observe(&self, mut past: Past) -> Past {
        for number in self.open.difference(&past.done.clone()) {
            let Operation {
                action, certain, ..
            } = self.operations[*number];
            if certain && !action.changes() && action.after(past.held).is_some() {
                past.done.insert(*number);
            }
        }
        past
    }

    /// Lets one more operation happen that changes the key.
    fn step(&self, past: &Past, number: usize) -> Option<Past> {
        let action = self.operations[number].action;
        let held = action.after(past.held).filter(|_| action.changes())?;
        let mut done = past.done.clone();
        done.insert(number);
        Some(Past { held, done })
    }

    /// Whether everything that may follow the one may follow the other too: it holds the same, the
    /// same certain operations are done, and it needed no more of the possible ones.
    fn makes_needless(&self, one: &Past, other: &Past) -> bool {
        let certain = |number: &&usize| self.operations[**number].certain;
        one.held == other.held
            && one.done.is_subset(&other.done)
            && one.done.iter().filter(certain).count() == other.done.iter().filter(certain).count()
    }
}

#[cfg(test)]
mod tests {
    use super::Action::{Create, CreateRefused, Read, Replace, ReplaceRefused, Write};
    use super::*;

    /// An operation that was answered.
    fn sure(began: Moment, ended: Moment, action: Action) -> Operation {
        Operation {
            action,
            began,
            ended,
            certain: true,
        }
    }

    /// One that may have taken effect until `until`.
    fn maybe(began: Moment, until: Moment, action: Action) -> Operation {
        Operation {
            certain: false,
            ..sure(began, until, action)
        }
    }

    #[track_caller]
    fn assert_fine(operations: &[Operation]) {
        assert_eq!(check(None, operations), Ok(()));
    }

    #[track_caller]
    fn assert_violated(at: usize, operations: &[Operation]) {
        match check(None, operations) {
            Err(Violation::Impossible { operation, .. }) => assert_eq!(operation, at),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_after_an_answer_see_it() {
        let put = sure(1, 2, Write(Some(7)));
        assert_fine(&[sure(0, 9, Read(None)), put, sure(3, 4, Read(Some(7)))]);
        assert_violated(1, &[put, sure(3, 4, Read(None))]);
        assert_violated(1, &[put, sure(3, 4, Read(Some(8)))]);
    }

    #[test]
    fn a_read_beside_a_write_sees_either_side_and_none_goes_back() {
        let put = sure(1, 10, Write(Some(7)));
        assert_fine(&[put, sure(2, 3, Read(None)), sure(4, 5, Read(Some(7)))]);
        assert_violated(2, &[put, sure(2, 3, Read(Some(7))), sure(4, 5, Read(None))]);
    }

    #[test]
    fn a_stale_read_after_an_overwrite_is_a_violation() {
        let history = [
            sure(1, 2, Write(Some(1))),
            sure(3, 4, Write(Some(2))),
            sure(5, 6, Read(Some(1))),
        ];
        assert_violated(2, &history);
    }

    #[test]
    fn writes_beside_each_other_take_effect_in_one_order_for_all() {
        let (one, two) = (sure(1, 10, Write(Some(1))), sure(2, 11, Write(Some(2))));
        let reads = |first, then| [sure(12, 13, Read(first)), sure(14, 15, Read(then))];
        let all = |reads: [Operation; 2]| [[one, two], reads].concat();
        assert_fine(&all(reads(Some(1), Some(1))));
        assert_fine(&all(reads(Some(2), Some(2))));
        assert_violated(3, &all(reads(Some(1), Some(2))));
    }

    #[test]
    fn what_is_unknown_may_have_happened_late_or_never_but_once() {
        let lost = maybe(1, 100, Write(Some(1)));
        let other = sure(4, 5, Write(Some(2)));
        assert_fine(&[
            lost,
            sure(2, 3, Read(None)),
            other,
            sure(6, 7, Read(Some(1))),
        ]);
        assert_fine(&[
            lost,
            sure(2, 3, Read(Some(1))),
            other,
            sure(6, 7, Read(Some(2))),
        ]);
        assert_fine(&[
            lost,
            sure(2, 3, Read(None)),
            other,
            sure(6, 7, Read(Some(2))),
        ]);
        // Seen once and written over, it does not come back.
        let back = sure(8, 9, Read(Some(1)));
        assert_violated(3, &[lost, sure(2, 3, Read(Some(1))), other, back]);
    }

    #[test]
    fn what_is_unknown_does_not_happen_after_its_last_moment() {
        let lost = maybe(1, 10, Write(None));
        let (put, gone) = (sure(2, 3, Write(Some(1))), sure(20, 21, Read(None)));
        assert_fine(&[lost, put, gone]);
        let later = sure(11, 12, Write(Some(2)));
        assert_violated(3, &[lost, put, later, gone]);
    }

    #[test]
    fn a_conditional_create_has_one_winner() {
        let (one, two) = (sure(1, 10, Create(1)), sure(2, 11, Create(2)));
        assert_violated(1, &[one, two]);
        assert_fine(&[one, sure(2, 11, CreateRefused)]);
        assert_fine(&[one, sure(3, 4, Write(None)), two]);
        // Nobody can have lost against nothing.
        assert_violated(0, &[sure(1, 2, CreateRefused)]);
        assert_fine(&[maybe(0, 9, Create(3)), sure(1, 2, CreateRefused)]);
    }

    #[test]
    fn a_replacement_needs_what_it_expects() {
        let put = sure(1, 2, Write(Some(1)));
        let replace = |began, value| {
            let expected = 1;
            sure(began, began + 1, Replace { expected, value })
        };
        assert_fine(&[put, replace(3, 2), sure(5, 6, Read(Some(2)))]);
        assert_violated(2, &[put, replace(3, 2), replace(5, 3)]);
        assert_violated(1, &[put, sure(3, 4, ReplaceRefused { expected: 1 })]);
        assert_fine(&[put, sure(3, 4, ReplaceRefused { expected: 9 })]);
    }

    #[test]
    fn a_write_of_a_dead_client_may_explain_several_reads_by_different_paths() {
        // Found by thinking: the read needs the lost delete before it, the create needs it too.
        let history = [
            sure(1, 2, Write(Some(1))),
            maybe(3, 100, Write(None)),
            sure(4, 9, Create(2)),
            sure(5, 6, Read(None)),
            sure(10, 11, Read(Some(2))),
        ];
        assert_fine(&history);
        assert_violated(1, &[history[0], sure(4, 9, Create(2))]);
    }

    #[test]
    fn many_unknown_outcomes_are_borne() {
        let mut history = Vec::new();
        for value in 0..40 {
            let at = value * 4;
            history.push(maybe(at, 500 + value, Write(Some(value))));
            history.push(sure(at + 1, at + 2, CreateRefused));
        }
        history.push(sure(600, 601, Read(Some(17))));
        history.push(sure(602, 603, Read(Some(17))));
        assert_eq!(check(Some(1000), &history), Ok(()));
        history.push(sure(604, 605, Read(Some(18))));
        assert!(check(Some(1000), &history).is_err());
    }
}
