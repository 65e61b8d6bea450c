//! Who may do what, with several users, where the answer hangs on more than a table can show.

mod headers;
mod kit;
mod objects;
mod presigned;
mod unbuilt;
mod unsigned;
mod uploads;
