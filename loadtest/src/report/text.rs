//! Numbers as people read them.

use crate::measure::clock::{MS, SECOND};

/// `1,234,567`
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `42 µs`, `1.25 ms`, `3.1 s`, `2 min 5 s`
pub fn time(ns: u64) -> String {
    match ns {
        0 => "0".into(),
        _ if ns < 9_995 => format!("{:.2} µs", ns as f64 / 1e3),
        _ if ns < MS => format!("{} µs", (ns + 500) / 1000),
        _ if ns < SECOND => format!("{} ms", three_digits(ns as f64 / 1e6)),
        _ if ns < 120 * SECOND => format!("{} s", three_digits(ns as f64 / 1e9)),
        _ => format!("{} min {} s", ns / SECOND / 60, ns / SECOND % 60),
    }
}

/// `812 bytes`, `1.5 MiB`
pub fn bytes(bytes: i64) -> String {
    let size = bytes as f64;
    match bytes.unsigned_abs() {
        0..10_240 => format!("{bytes} bytes"),
        10_240..1_048_576 => format!("{} KiB", three_digits(size / 1024.0)),
        1_048_576..1_073_741_824 => format!("{} MiB", three_digits(size / 1_048_576.0)),
        _ => format!("{} GiB", three_digits(size / 1_073_741_824.0)),
    }
}

/// `1 client`, `2 clients`
pub fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number))
}

fn three_digits(value: f64) -> String {
    match value.abs() {
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_short_and_exact_enough() {
        let counts = [0, 999, 1000, 12_345_678].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "12,345,678"]);
        let times = [
            0,
            1_512,
            42_400,
            1_250_000,
            31_000_000,
            999_000_000,
            125_000_000_000,
        ];
        let texts = [
            "0",
            "1.51 µs",
            "42 µs",
            "1.25 ms",
            "31.0 ms",
            "999 ms",
            "2 min 5 s",
        ];
        assert_eq!(times.map(time), texts);
        let sizes = [812, -512, 20_480, 1_572_864, 3 << 30].map(bytes);
        assert_eq!(
            sizes,
            [
                "812 bytes",
                "-512 bytes",
                "20.0 KiB",
                "1.50 MiB",
                "3.00 GiB"
            ]
        );
        assert_eq!(
            counted(1, "client") + &counted(2, "client"),
            "1 client2 clients"
        );
    }
}
