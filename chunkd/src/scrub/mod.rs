//! Scrubbing: every chunk is read from its disk and verified again and again, each time within a set
//! period, so that rot is found while there are other copies. One walk for each disk; it goes at the
//! pace that the period asks for, gives way to requests, and goes on where it was after a restart.
//! A damaged chunk goes to quarantine, which gateways hear of: they have it repaired.
//!
//! `pass` says how far a walk is and when it is on time, `kept` keeps that on the disk, `walk` walks,
//! `report` is what gateways hear.

mod kept;
mod pass;
mod report;
mod walk;

pub use report::ScrubBoard;
pub use walk::{ScrubSettings, scrub_disks};
