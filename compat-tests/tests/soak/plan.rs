//! Which faults come when: a pure function of a seed.
//!
//! At most two chunk servers ail at a time, as many as three replicas bear; bytes rot on one of them
//! only, until the cluster has healed.

use std::time::Duration;

use fastrand::Rng;

/// Chunk servers of the cluster.
pub(crate) const NODES: usize = 6;
/// How many of them ail at a time.
const AILING_MAX: usize = 2;
/// Pause between the beginnings of two faults, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 400..2400;
/// How long a fault lasts, in milliseconds; a silent node is taken for gone within this.
const LASTS_MS: std::ops::Range<u64> = 300..11_000;
/// How much longer a sync takes on a slow disk, in milliseconds; reads and writes a twentieth of that.
const SYNC_MS: std::ops::Range<u64> = 20..1500;
/// By how much a clock goes wrong; signatures are good for 15 minutes.
const SHIFT_S: std::ops::RangeInclusive<i64> = -300..=300;
/// The same for the gateway's, by which chunks are born. One that nobody names and that was born in the
/// future is kept until that has come, and the verdict would have to wait for it.
const GATEWAY_SHIFT_S: std::ops::RangeInclusive<i64> = -300..=10;

/// Whom a fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Gateway,
    Node(usize),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9; started again at its end.
    Kill(Victim),
    /// SIGSTOP; SIGCONT at its end.
    Pause(Victim),
    /// Connections to the node break, and are refused.
    CutData(usize),
    /// The node's heartbeats do not arrive; its data does.
    CutHeartbeats(usize),
    /// Both.
    Isolate(usize),
    /// No packet reaches the node or leaves it, and nobody is told.
    Silence(usize),
    /// Every piece of data takes this much longer.
    Slow(usize, Duration),
    /// Every sync of the node's disk takes this much longer, reads and writes a twentieth of it.
    SlowDisk(usize, Duration),
    /// No room is left on the node's disk.
    FillDisk(usize),
    /// Bytes on the node's disk turn; the number says which.
    Rot(usize, u64),
    /// The clock jumps by so many seconds, and back at its end.
    Clock(Victim, i64),
}

/// A fault in its time, counted from the beginning of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) begins: Duration,
    pub(crate) ends: Duration,
    pub(crate) fault: Fault,
}

/// What the machine allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means {
    /// Whether the last node has a disk that can be filled.
    pub(crate) small_disk: bool,
    /// Whether clocks can be shifted.
    pub(crate) clocks: bool,
    /// Whether disks can be slowed down.
    pub(crate) slow_disks: bool,
}

/// The kinds of faults, as they are dealt.
#[derive(Debug, Clone, Copy)]
enum Kind {
    KillNode,
    KillGateway,
    PauseNode,
    PauseGateway,
    CutData,
    CutHeartbeats,
    Isolate,
    Silence,
    Slow,
    SlowDisk,
    FillDisk,
    Rot,
    NodeClock,
    GatewayClock,
}

const KINDS: [Kind; 14] = [
    Kind::KillNode,
    Kind::KillGateway,
    Kind::PauseNode,
    Kind::PauseGateway,
    Kind::CutData,
    Kind::CutHeartbeats,
    Kind::Isolate,
    Kind::Silence,
    Kind::Slow,
    Kind::SlowDisk,
    Kind::FillDisk,
    Kind::Rot,
    Kind::NodeClock,
    Kind::GatewayClock,
];

/// The faults of `length`, in the order of their beginnings.
pub(crate) fn plan(seed: u64, length: Duration, means: Means) -> Vec<Planned> {
    let mut rng = Rng::with_seed(seed);
    let rotting = rng.usize(..NODES);
    let (mut planned, mut deck, mut at) = (Vec::new(), Vec::new(), Duration::ZERO);
    loop {
        at += Duration::from_millis(rng.u64(PAUSE_MS));
        if at >= length {
            return planned;
        }
        // Dealt from a shuffled deck, so that a short plan has most kinds.
        if deck.is_empty() {
            deck = KINDS.to_vec();
            rng.shuffle(&mut deck);
        }
        let Some(kind) = deck.pop() else { continue };
        let lasts = match kind {
            Kind::Rot => Duration::ZERO,
            _ => Duration::from_millis(rng.u64(LASTS_MS)),
        };
        let under_way: Vec<_> = planned.iter().filter(|other| is_on(other, at)).collect();
        if let Some(fault) = choose(kind, rotting, &under_way, means, &mut rng) {
            planned.push(Planned {
                begins: at,
                ends: (at + lasts).min(length),
                fault,
            });
        }
    }
}

fn is_on(planned: &Planned, at: Duration) -> bool {
    planned.begins <= at && at <= planned.ends
}

/// A fault of that kind that may come beside those under way.
fn choose(
    kind: Kind,
    rotting: usize,
    under_way: &[&Planned],
    means: Means,
    rng: &mut Rng,
) -> Option<Fault> {
    let is_free = |victim| under_way.iter().all(|other| other.fault.victim() != victim);
    let ailing = |other: &&&Planned| other.fault.victim() != Victim::Gateway;
    let gateway = is_free(Victim::Gateway).then_some(Victim::Gateway);
    let free: Vec<_> = (0..NODES)
        .filter(|node| is_free(Victim::Node(*node)))
        .collect();
    let node = match under_way.iter().filter(ailing).count() < AILING_MAX {
        true => rng.choice(free),
        false => None,
    };
    Some(match kind {
        Kind::KillNode => Fault::Kill(Victim::Node(node?)),
        Kind::KillGateway => Fault::Kill(gateway?),
        Kind::PauseNode => Fault::Pause(Victim::Node(node?)),
        Kind::PauseGateway => Fault::Pause(gateway?),
        Kind::CutData => Fault::CutData(node?),
        Kind::CutHeartbeats => Fault::CutHeartbeats(node?),
        Kind::Isolate => Fault::Isolate(node?),
        Kind::Silence => Fault::Silence(node?),
        Kind::Slow => Fault::Slow(node?, Duration::from_millis(rng.u64(1..60))),
        Kind::SlowDisk => {
            let node = node.filter(|_| means.slow_disks)?;
            Fault::SlowDisk(node, Duration::from_millis(rng.u64(SYNC_MS)))
        }
        Kind::FillDisk => {
            let last = NODES - 1;
            node.filter(|_| means.small_disk && is_free(Victim::Node(last)))?;
            Fault::FillDisk(last)
        }
        Kind::Rot => Fault::Rot(
            Some(rotting).filter(|node| is_free(Victim::Node(*node)))?,
            rng.u64(..),
        ),
        // Not the rotting node's: when it verified its chunks is told by its clock.
        Kind::NodeClock => {
            let node = node.filter(|node| means.clocks && *node != rotting)?;
            Fault::Clock(Victim::Node(node), rng.i64(SHIFT_S))
        }
        Kind::GatewayClock => {
            let gateway = gateway.filter(|_| means.clocks)?;
            Fault::Clock(gateway, rng.i64(GATEWAY_SHIFT_S))
        }
    })
}

impl Fault {
    /// Whom it meets.
    pub(crate) fn victim(self) -> Victim {
        match self {
            Self::Kill(victim) | Self::Pause(victim) | Self::Clock(victim, _) => victim,
            Self::CutData(node)
            | Self::CutHeartbeats(node)
            | Self::Isolate(node)
            | Self::Silence(node)
            | Self::Slow(node, _)
            | Self::SlowDisk(node, _)
            | Self::FillDisk(node)
            | Self::Rot(node, _) => Victim::Node(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::mem::{Discriminant, discriminant};

    use super::*;

    const ALL: Means = Means {
        small_disk: true,
        clocks: true,
        slow_disks: true,
    };
    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_seed_gives_the_same_plan_again_and_another_seed_another_one() {
        assert_eq!(plan(7, LONG, ALL), plan(7, LONG, ALL));
        assert_ne!(plan(7, LONG, ALL), plan(8, LONG, ALL));
    }

    #[test]
    fn at_most_two_nodes_ail_at_a_time_each_by_one_fault_and_one_of_them_rots() {
        for seed in 0..50 {
            let planned = plan(seed, LONG, ALL);
            for one in &planned {
                let others = planned.iter().filter(|other| is_on(other, one.begins));
                let victims: Vec<_> = others.map(|other| other.fault.victim()).collect();
                let distinct = |victim: &Victim| victims.iter().filter(|v| *v == victim).count();
                assert!(victims.iter().all(|victim| distinct(victim) == 1), "{seed}");
                // A rotten node is up and answers; the two others may be away.
                let lasting = planned.iter().filter(|other| other.ends > other.begins);
                let ailing = lasting.filter(|other| is_on(other, one.begins));
                let ailing = ailing.filter(|other| other.fault.victim() != Victim::Gateway);
                assert!(ailing.count() <= AILING_MAX, "{seed}");
            }
            let rotten = planned.iter().filter_map(|planned| match planned.fault {
                Fault::Rot(node, _) => Some(node),
                _ => None,
            });
            assert_eq!(rotten.collect::<BTreeSet<_>>().len(), 1, "{seed}");
        }
    }

    #[test]
    fn every_kind_comes_and_what_the_machine_does_not_allow_does_not() {
        let kinds = |means| -> Vec<Discriminant<Fault>> {
            let mut kinds = Vec::new();
            for planned in plan(1, LONG, means) {
                let kind = discriminant(&planned.fault);
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
            kinds
        };
        assert_eq!(kinds(ALL).len(), 11);
        let none = Means {
            small_disk: false,
            clocks: false,
            slow_disks: false,
        };
        assert_eq!(kinds(none).len(), 8);
    }
}
