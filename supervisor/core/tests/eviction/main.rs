//! The rules of eviction, one test each, named after the rule.

mod given;

mod admission;
mod conditions;
mod images;
mod messages;
mod one_at_a_time;
mod ranking;
mod storage;
mod thresholds;
