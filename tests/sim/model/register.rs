//! The retained message of a topic: a register with several writers.

use super::Model;
use std::collections::BTreeMap;

/// What may be retained under a topic.
#[derive(Default)]
pub struct Register {
    /// Writes since the last quiet moment, and what stood before them.
    writes: Vec<u32>,
    /// What stands for certain, as of the last quiet moment; `None`: nothing.
    pub value: Option<u32>,
    /// Whether `value` could be told before anybody looked.
    pub foretold: bool,
}

impl Model {
    /// A message with RETAIN was sent.
    pub fn write(&mut self, number: u32) {
        let topic = self.messages[number as usize].topic;
        self.registers
            .get_mut(topic)
            .expect("one for each topic")
            .writes
            .push(number);
    }

    /// At a quiet moment: what a new subscriber to everything got. Every topic's message must be
    /// the last one, as far as the writers were in an order.
    pub fn check_registers(&mut self, seen: &BTreeMap<String, u32>) {
        for (&topic, register) in &mut self.registers {
            let messages = &self.messages;
            let begun = |n: &u32| messages[*n as usize].sent < u64::MAX;
            let all = register.value.iter().chain(&register.writes).copied();
            let all: Vec<u32> = all.filter(begun).collect();
            // Overwritten: another write was accepted that began only after this one was over.
            let stands = |number: &&u32| {
                let over = messages[**number as usize].finished.unwrap_or(u64::MAX);
                let later = |other: &u32| {
                    let other = &messages[*other as usize];
                    other.accepted.is_some() && other.sent > over
                };
                !all.iter().any(later)
            };
            let candidates: Vec<u32> = all.iter().filter(stands).copied().collect();
            let certain = register.value.is_some()
                || all.iter().any(|&n| messages[n as usize].accepted.is_some());
            let may_lack = !certain
                || candidates.iter().any(|&n| {
                    let message = &messages[n as usize];
                    message.empty || message.expires
                });
            let told: Vec<String> = candidates
                .iter()
                .map(|&n| {
                    format!(
                        "{n} {} empty {}",
                        messages[n as usize].told(),
                        messages[n as usize].empty
                    )
                })
                .collect();
            let found = seen.get(topic).copied();
            match found {
                Some(number) => assert!(
                    candidates.contains(&number) && !messages[number as usize].empty,
                    "{number} {} is retained under {topic}, not one of {told:?}",
                    messages[number as usize].told(),
                ),
                None => assert!(may_lack, "nothing is retained under {topic}, not {told:?}"),
            }
            let lasting = |n: u32| !messages[n as usize].expires;
            register.foretold = candidates.len() == 1 && certain && lasting(candidates[0]);
            register.value = found;
            // Wills are still to come.
            register
                .writes
                .retain(|&n| messages[n as usize].finished.is_none());
        }
    }
}
