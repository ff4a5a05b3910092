//! What the load tester says of itself, where the figures may be its own and not the broker's. It
//! says what was measured, and leaves it to the reader what follows.

use crate::measure::busy::Busy;
use crate::measure::clock::MS;
use crate::net::Pace;
use crate::report::text;

/// A thread that has work for more of its time has no time to spare.
const BUSY_MAX: f64 = 0.95;
/// Others waited for more of the time: then the pace follows from how many may be under way.
const FULL_MAX: f64 = 0.5;
/// Whoever is later than this was late.
const LAG_MAX_NS: u64 = 2 * MS;
const CONNECT_LAG_MAX_NS: u64 = 20 * MS;

/// What limits a wave of connections beside the broker.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Under way at a time.
    pub parallel: usize,
    /// Begun a second; 0: no limit.
    pub rate_per_s: u64,
}

/// Of the busiest executor, in a part of the run (`when`: "while connecting, ") or in all of it.
pub fn of_busy(when: &str, busy: Busy) -> Option<String> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    (busy.all() > BUSY_MAX).then(|| {
        format!(
            "{when}the load tester's busiest executor used {} of a core and waited for one {} of \
             the time: the figures may be its own, not the broker's (more --shards or --workers \
             would show it)",
            percent(busy.used),
            percent(busy.waited),
        )
    })
}

/// Of a wave of connections; `when` as above.
pub fn of_connecting(when: &str, pace: &Pace, allowed: Allowed) -> Vec<String> {
    let mut notes: Vec<String> = of_busy(when, pace.busy).into_iter().collect();
    let full = format!(
        "for {:.0} % of the time as many were under way as --parallel allows ({})",
        pace.full * 100.0,
        text::count(allowed.parallel as u64)
    );
    let late_ns = pace.lag.quantile_ns(0.99);
    if allowed.rate_per_s > 0 && late_ns > CONNECT_LAG_MAX_NS {
        let why = match pace.full > 0.0 {
            true => format!("; {full}"),
            false => String::new(),
        };
        notes.push(format!(
            "{when}connections were begun up to {} after the times that the rate gives them \
             (99 %){why}",
            text::time(late_ns)
        ));
    } else if pace.full > FULL_MAX {
        notes.push(format!(
            "{when}{full}: the pace is that of so many at a time, with more it may be another"
        ));
    }
    notes
}

/// Of messages that are sent at a rate, in portions of `tick_ns`: how late they were noticed to be
/// due.
pub fn of_sending(late_ns: u64, tick_ns: u64) -> Option<String> {
    (late_ns > LAG_MAX_NS.max(tick_ns)).then(|| {
        format!(
            "the load tester sent up to {} after the intended times (99 %), which is part of the \
             latencies",
            text::time(late_ns)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(used: f64, waited: f64) -> Busy {
        Busy { used, waited }
    }

    fn pace(busy: Busy, full: f64, lag_ns: u64) -> Pace {
        let mut pace = Pace {
            busy,
            full,
            ..Pace::default()
        };
        pace.lag.record(lag_ns);
        pace
    }

    const FREE: Allowed = Allowed {
        parallel: 256,
        rate_per_s: 0,
    };
    const PACED: Allowed = Allowed {
        rate_per_s: 100,
        ..FREE
    };

    #[test]
    fn an_executor_without_time_to_spare_is_told() {
        assert_eq!(of_busy("", busy(0.5, 0.4)), None);
        let told = of_busy("while connecting, ", busy(0.5, 0.48)).unwrap();
        let begin = "while connecting, the load tester's busiest executor used 50 % of a core and \
                     waited for one 48 % of the time: the figures may be its own";
        assert!(told.starts_with(begin), "{told}");
        assert!(of_busy("", busy(0.97, 0.0)).is_some());
    }

    #[test]
    fn a_wave_that_has_all_it_wants_is_not_remarked() {
        assert!(of_connecting("", &pace(busy(0.3, 0.1), 0.4, 0), FREE).is_empty());
        assert!(of_connecting("", &pace(busy(0.3, 0.1), 0.0, 19 * MS), PACED).is_empty());
        // Without a rate there is nothing that it could be late for.
        assert!(of_connecting("", &pace(busy(0.3, 0.1), 0.0, 999 * MS), FREE).is_empty());
    }

    #[test]
    fn a_wave_that_is_limited_here_is_told_with_what_was_measured() {
        let told = of_connecting("", &pace(busy(0.3, 0.0), 0.87, 0), FREE);
        let full = "for 87 % of the time as many were under way as --parallel allows (256)";
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with(full), "{told:?}");
        let told = of_connecting("", &pace(busy(0.99, 0.0), 0.0, 500 * MS), PACED);
        assert_eq!(told.len(), 2);
        let late = "connections were begun up to 500 ms after the times that the rate gives them";
        assert!(
            told[0].contains("busiest executor") && told[1].starts_with(late),
            "{told:?}"
        );
        assert!(!told[1].contains("--parallel"));
        let told = of_connecting("", &pace(busy(0.3, 0.0), 0.87, 500 * MS), PACED);
        assert!(told.len() == 1 && told[0].ends_with(full), "{told:?}");
    }

    #[test]
    fn a_sender_that_is_late_is_told() {
        assert_eq!(of_sending(2 * MS, MS), None);
        assert_eq!(of_sending(9 * MS, 10 * MS), None);
        assert!(
            of_sending(3 * MS, MS)
                .unwrap()
                .contains("up to 3.00 ms after")
        );
    }
}
