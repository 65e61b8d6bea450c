//! The bytes that clients put: each body says in its first bytes which one it is.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use gateway::chunks::BodyStream;
use tokio::time::sleep;

use crate::dice::{Dice, mix};

/// Length of the name at the beginning of a body.
const NAME_BYTES: usize = 8;
/// Longest body.
const BODY_MAX_BYTES: usize = 8 << 20;
/// Length of a client's pieces.
const PIECE_BYTES: usize = 64 << 10;

/// A body, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    pub name: u64,
    length: usize,
}

impl Payload {
    /// A body of some length: mostly one short chunk, at times several, seldom chunks that are too long
    /// to be retained.
    pub fn of_some_length(name: u64, dice: &Dice) -> Self {
        let length = match dice.below(40) {
            0 => dice.within(6_500_000..BODY_MAX_BYTES as u64),
            1..5 => dice.within(1_000_000..2_500_000),
            _ => dice.within(NAME_BYTES as u64..3000),
        };
        let length = usize::try_from(length).unwrap();
        Self { name, length }
    }

    pub fn length_bytes(self) -> u64 {
        self.length as u64
    }

    fn pieces(self) -> Vec<Bytes> {
        let name = Bytes::copy_from_slice(&self.name.to_be_bytes());
        let mut rest = noise().slice(NAME_BYTES..self.length);
        let mut pieces = vec![name];
        while !rest.is_empty() {
            pieces.push(rest.split_to(rest.len().min(PIECE_BYTES)));
        }
        pieces
    }

    /// The body as a client sends it, which rests for that long before some of its pieces.
    pub fn sent(self, dice: &Dice, rest: Option<Duration>) -> BodyStream {
        let rest = rest.map(|rest| (dice.clone(), rest));
        let pieces = stream::iter(self.pieces()).then(move |piece| {
            let rest = rest.as_ref();
            let rest = rest.and_then(|(dice, rest)| dice.one_in(4).then_some(*rest));
            async move {
                if let Some(rest) = rest {
                    sleep(rest).await;
                }
                Ok(piece)
            }
        });
        pieces.boxed()
    }

    /// Takes the body off the front of `bytes`; false if something else stands there.
    pub fn take_off(self, bytes: &mut BytesMut) -> bool {
        if bytes.len() < self.length {
            return false;
        }
        let own = bytes.split_to(self.length);
        let (name, rest) = own.split_at(NAME_BYTES);
        name == self.name.to_be_bytes() && rest == &noise()[NAME_BYTES..self.length]
    }
}

/// What bodies consist of behind their names.
fn noise() -> &'static Bytes {
    static NOISE: OnceLock<Bytes> = OnceLock::new();
    NOISE.get_or_init(|| {
        let words = (0..BODY_MAX_BYTES as u64 / 8).flat_map(|word| mix(word).to_be_bytes());
        words.collect()
    })
}
