//! Scenarios with real directories, sockets and processes; one program, because linking RocksDB
//! takes long.

mod damage;
mod format;
mod http;
mod kit;
mod process;
mod registration;
mod store;
