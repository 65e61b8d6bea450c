//! Clients that work on the same keys, each through the gateway that it happens to reach, and write down
//! what they saw.

use std::sync::Arc;
use std::time::Duration;

use metastore::{PartNumber, UploadId, WriteCondition};
use tokio::time::Instant;

use crate::gateway::{Asked, Gateway};
use crate::objects::Payload;
use crate::register::{Action, Moment};
use crate::requests::{Answer, Rest, etag};
use crate::settings::{GATEWAYS, KEYS, OPERATIONS};
use crate::world::World;

/// A write that took so long was saved by another node than it had begun on.
const HEDGED: Duration = Duration::from_secs(2);
const PARTS_MAX: u64 = 3;

pub struct Client {
    world: Arc<World>,
    /// The value of each key that was read last.
    known: Vec<Option<u64>>,
}

impl Client {
    pub fn new(world: Arc<World>) -> Self {
        let known = vec![None; usize::try_from(KEYS).unwrap()];
        Self { world, known }
    }

    pub async fn work(mut self) {
        for _ in 0..OPERATIONS {
            let dice = self.world.dice.clone();
            dice.pause(50..4000).await;
            let at = usize::try_from(dice.below(KEYS)).unwrap();
            let key = format!("key-{at}");
            match dice.below(20) {
                0..6 => self.put(&key, None).await,
                6 => self.put(&key, Some(None)).await,
                7 => self.put(&key, Some(self.known[at])).await,
                8..10 => self.delete(&key).await,
                10..12 => self.upload(&key).await,
                _ => self.get(&key, at).await,
            }
        }
    }

    fn gateway(&self) -> Arc<Gateway> {
        let at = usize::try_from(self.world.dice.below(GATEWAYS as u64)).unwrap();
        Arc::clone(&self.world.gateways[at])
    }

    fn body(&self) -> Payload {
        Payload::of_some_length(self.world.history.name(), &self.world.dice)
    }

    fn rest(&self, ms: std::ops::Range<u64>) -> Rest {
        let dice = &self.world.dice;
        dice.one_in(5).then(|| dice.ms(ms))
    }

    /// Puts an object; where something is expected, only if that is there.
    async fn put(&self, key: &str, expected: Option<Option<u64>>) {
        let (history, payload) = (&self.world.history, self.body());
        let value = payload.name;
        history.declare(value, vec![payload]);
        let (condition, done, refused) = match expected {
            None => (WriteCondition::Always, Action::Write(Some(value)), None),
            Some(None) => (
                WriteCondition::Absent,
                Action::Create(value),
                Some(Action::CreateRefused),
            ),
            Some(Some(expected)) => (
                WriteCondition::Etag(etag(expected)),
                Action::Replace { expected, value },
                Some(Action::ReplaceRefused { expected }),
            ),
        };
        let rest = self.rest(100..9000);
        let (began, began_at) = (history.moment(), Instant::now());
        self.world.note_try();
        let asked = self.gateway();
        let asked =
            asked.ask(async |gateway| gateway.put(key, (value, payload), condition, rest).await);
        let asked = asked.await;
        if matches!(asked, Asked::Answered(Answer::Done)) {
            self.world.note_acknowledged();
            if rest.is_none() && began_at.elapsed() >= HEDGED {
                self.world.witness.count("a write that lagged");
            }
        }
        self.note(key, began, asked, done, refused);
    }

    async fn delete(&self, key: &str) {
        let began = self.world.history.moment();
        let asked = self.gateway();
        let asked = asked.ask(async |gateway| gateway.delete(key).await).await;
        self.note(key, began, asked, Action::Write(None), None);
    }

    /// Notes what is known of a change.
    fn note(
        &self,
        key: &str,
        began: Moment,
        asked: Asked<Answer>,
        done: Action,
        refused: Option<Action>,
    ) {
        let history = &self.world.history;
        match asked {
            Asked::Answered(Answer::Done) => history.saw(key, began, done),
            Asked::Answered(Answer::Refused) => {
                self.world.witness.count("a refused condition");
                history.saw(key, began, refused.expect("a condition was set"));
            }
            Asked::CutOff => {
                self.world.witness.count("a change cut off");
                history.lost(key, began, done);
            }
            Asked::Answered(Answer::Failed) => self.world.witness.count("a failed change"),
            Asked::Away => {}
        }
    }

    async fn get(&mut self, key: &str, at: usize) {
        let began = self.world.history.moment();
        let rest = self.rest(5000..25_000);
        let asked = self.gateway();
        let asked = asked
            .ask(async |gateway| gateway.get(key, rest).await)
            .await;
        match asked {
            Asked::Answered(Some(seen)) => {
                self.world.history.saw(key, began, Action::Read(seen));
                self.known[at] = seen;
            }
            Asked::Answered(None) => self.world.witness.count("a failed read"),
            Asked::CutOff | Asked::Away => {}
        }
    }

    /// Uploads an object in parts, some of them twice; then completes it, aborts it, or forgets it.
    async fn upload(&self, key: &str) {
        let begun = self.gateway();
        let begun = begun.ask(async |gateway| gateway.begin_upload(key).await);
        let Asked::Answered(upload) = begun.await else {
            return;
        };
        let (dice, history) = (&self.world.dice, &self.world.history);
        let mut parts = Vec::new();
        for number in 1..=dice.within(1..PARTS_MAX + 1) {
            let number = PartNumber::parse(i64::try_from(number).unwrap()).unwrap();
            let place = (key, upload, number);
            if dice.one_in(3) {
                self.part(place).await;
            }
            match self.part(place).await {
                Some(payload) => parts.push((number, payload)),
                None => return self.abort(key, upload).await,
            }
        }
        if dice.one_in(6) {
            return self.abort(key, upload).await;
        }
        if dice.one_in(6) {
            return self.world.witness.count("an upload forgotten");
        }
        if parts.len() > 1 && dice.one_in(4) {
            parts.remove(0);
        }
        let value = history.name();
        history.declare(value, parts.iter().map(|(_, payload)| *payload).collect());
        let began = history.moment();
        let asked = self.gateway();
        let asked = asked.ask(async |gateway| gateway.complete((key, upload), &parts, value).await);
        let asked = asked.await;
        if matches!(asked, Asked::Answered(Answer::Done)) {
            self.world.witness.count("an upload completed");
        }
        self.note(key, began, asked, Action::Write(Some(value)), None);
    }

    async fn part(&self, place: (&str, UploadId, PartNumber)) -> Option<Payload> {
        let payload = self.body();
        let asked = self.gateway();
        let asked = asked.ask(async |gateway| gateway.put_part(place, payload).await);
        match asked.await {
            Asked::Answered(Answer::Done) => Some(payload),
            _ => None,
        }
    }

    async fn abort(&self, key: &str, upload: UploadId) {
        self.world.witness.count("an upload aborted");
        let asked = self.gateway();
        asked
            .ask(async |gateway| gateway.abort(key, upload).await)
            .await;
    }
}
