//! The load tester against brokers in this process, and against relays that plant faults.

mod broker;
mod crew;
mod ends;
mod faults;
mod matrix;
#[allow(dead_code, reason = "the doors' tests revoke certificates, too")]
#[path = "../../../tests/doors/pki.rs"]
mod pki;
mod relay;
mod scenarios;
mod support;
mod transports;
