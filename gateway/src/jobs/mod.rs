//! Work that runs beside the requests. Each job is a loop of small units, stopped between units only.

mod garbage;

pub use garbage::GarbageCollector;
