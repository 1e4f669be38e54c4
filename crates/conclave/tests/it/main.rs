//! Tests with real processes, real disks and real signals: one file per subject.
//!
//! The clusters are started by the same code as those of `up`, `demo` and `bench`.

#![allow(clippy::too_many_lines, reason = "a test tells its story in one piece")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod alerts;
mod audit;
mod backup;
mod bad_input;
mod bad_requests;
mod bad_start;
mod bench;
mod browser;
mod canary;
mod chat;
mod clocks;
mod clocks_set;
mod command;
mod damage;
mod damage_edges;
mod demo_panel;
mod desk;
mod doctor;
mod edges;
mod events;
mod failed_disk;
mod false_learner;
mod foreign;
mod forger;
mod full_disk;
mod goes_alone;
mod golden;
mod grpcurl;
mod hostile_users;
mod live;
mod logging;
mod manners;
mod membership;
mod membership_faults;
mod mistakes;
mod moved;
mod old_data;
mod operator;
mod own_certificate;
mod packages;
mod planned_work;
mod reading;
mod readme;
mod recover;
mod refusals;
mod retention;
mod roles;
mod rotation;
mod rotation_order;
mod search;
mod secrets;
mod send_stream;
mod small_disk;
mod snapshots;
mod snapshots_kill;
mod start;
mod strangers;
mod streams;
mod support;
mod survival;
mod survival_restart;
mod tls;
mod tokens;
mod transfer;
mod two_crashes;
mod upgrade;
mod watching;
mod witness;
mod witness_nodes;
mod words;
