//! The pure half of the supervisor: what a Pod is and what it does next, with no I/O, no clock and no async.

pub mod pod;
