//! Sizes and durations as people write them: `1MiB`, `30s`, or a plain number.

const SIZE_UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];
const DURATION_UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// Bytes. `K`, `KB` and `KiB` are all 1,024, as emqttd's `64KB` was.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => {
            return Err(format!(
                "`{unit}` is no unit of size: use B, KiB, MiB, GiB or TiB"
            ));
        }
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("{text} is too large"))
}

/// Whole seconds.
pub fn parse_duration_s(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "ms" if number % 1000 == 0 => return Ok(number / 1000),
        "ms" => return Err(format!("{text} is not a whole number of seconds")),
        _ => return Err(format!("`{unit}` is no unit of time: use s, m, h, d or w")),
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("{text} is too large"))
}

/// The shortest exact way to write a size: `1MiB`, `1500`.
pub fn format_size(bytes: u64) -> String {
    format_with(bytes, &SIZE_UNITS)
}

/// The shortest exact way to write a duration: `7d`, `2h`, or seconds as they are.
pub fn format_duration_s(seconds: u64) -> String {
    format_with(seconds, &DURATION_UNITS[..2])
}

/// For people, who do not need every digit: `23.4 GiB`.
pub fn about_size(bytes: u64) -> String {
    match SIZE_UNITS.iter().find(|(_, factor)| bytes >= *factor) {
        Some((unit, factor)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*factor);
            if tenths % 10 == 0 {
                format!("{} {unit}", tenths / 10)
            } else {
                format!("{}.{} {unit}", tenths / 10, tenths % 10)
            }
        }
        None => format!("{bytes} B"),
    }
}

/// A number with its thousands set apart: `1,048,576`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// For people: `3d 4h`, `12m 5s`.
pub fn about_duration_s(seconds: u64) -> String {
    let mut parts = Vec::new();
    let mut rest = seconds;
    for (unit, factor) in DURATION_UNITS {
        if rest >= factor {
            parts.push(format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    parts.truncate(2);
    if parts.is_empty() {
        "0s".into()
    } else {
        parts.join(" ")
    }
}

/// Microseconds as people say them.
pub fn about_duration_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn format_with(number: u64, units: &[(&str, u64)]) -> String {
    match units
        .iter()
        .find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor))
    {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => number.to_string(),
    }
}

/// The digits (underscores allowed among them) and what follows.
fn split(text: &str) -> Result<(u64, &str), String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let digits: String = text[..end].chars().filter(|c| *c != '_').collect();
    if digits.is_empty() {
        return Err(format!("`{text}` is not a number"));
    }
    let unit = text[end..].trim();
    if unit.starts_with('.') {
        return Err(format!("`{text}` is not a whole number"));
    }
    match digits.parse() {
        Ok(number) => Ok((number, unit)),
        Err(_) => Err(format!("{text} is too large")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("1_000", 1000),
            ("64KB", 65_536),
            ("64 KiB", 65_536),
            ("1MiB", 1 << 20),
            ("2g", 2 << 30),
            ("7 B", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.5MiB",
            "1 parsec",
            "99999999999999999999",
            "99999999TiB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("0", 0),
            ("30", 30),
            ("30s", 30),
            ("2m", 120),
            ("2h", 7200),
            ("7d", 604_800),
            ("5000ms", 5),
        ] {
            assert_eq!(parse_duration_s(text), Ok(seconds), "{text}");
        }
        for text in ["", "s", "-1s", "1.5h", "1500ms", "3 fortnights"] {
            assert!(parse_duration_s(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, 1500 << 10, (1 << 30) + 1] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        for seconds in [0, 1, 10, 60, 90, 3600, 5400, 86_400, 604_800] {
            assert_eq!(parse_duration_s(&format_duration_s(seconds)), Ok(seconds));
        }
        assert_eq!(format_duration_s(60), "60");
        assert_eq!(format_duration_s(7200), "2h");
    }

    #[test]
    fn for_people() {
        assert_eq!(about_size(23 * (1 << 30) + (1 << 29)), "23.5 GiB");
        assert_eq!(about_size(8 << 20), "8 MiB");
        assert_eq!(about_size(12), "12 B");
        assert_eq!(thousands(1_048_576), "1,048,576");
        assert_eq!(thousands(100), "100");
        assert_eq!(about_duration_s(0), "0s");
        assert_eq!(about_duration_s(3 * 86_400 + 4 * 3600 + 59), "3d 4h");
        let told = [0, 999, 2_345, 1_200_000].map(about_duration_us);
        assert_eq!(told, ["0 µs", "999 µs", "2.3 ms", "1.2 s"]);
    }
}
