//! This host's memory, from /proc/meminfo.

/// Bytes in use: all there are without those that the kernel could give to a program. `None` where
/// there is no /proc.
pub fn used_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    field(&text, "MemTotal:")?.checked_sub(field(&text, "MemAvailable:")?)
}

/// Bytes that the kernel could give to a program.
pub fn available_bytes() -> Option<u64> {
    field(
        &std::fs::read_to_string("/proc/meminfo").ok()?,
        "MemAvailable:",
    )
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields() {
        let text =
            "MemTotal:       24 kB\nMemFree:  3 kB\nMemAvailable: 20 kB\nHugePages_Total: 0\n";
        assert_eq!(field(text, "MemTotal:"), Some(24 * 1024));
        assert_eq!(field(text, "MemAvailable:"), Some(20 * 1024));
        assert_eq!(field(text, "HugePages_Total:"), None);
        assert_eq!(field(text, "Swap:"), None);
        assert!(used_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
