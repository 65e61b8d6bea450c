//! `gateway serve` over chunk servers that are processes of their own, some of which die, and what
//! lies where; restarts and crashes of `gateway standalone` too.

mod deaths;
mod disaster;
mod draining;
mod healing;
mod identities;
mod joining;
mod kills;
mod kit;
mod losses;
mod placement;
mod restarts;
mod restoring;
mod silence;
mod unreachable;
