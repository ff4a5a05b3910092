//! Topic names and topic filters as text (section 4.7).

use super::error::DecodeError;
use std::str::{from_utf8, from_utf8_unchecked};

/// Longest topic name or filter, in bytes (MQTT-4.7.3-3).
pub const BYTES_MAX: usize = 65_535;

/// Whether `name` may be published to.
///
/// # Errors
/// Empty (MQTT-4.7.3-1), with U+0000 (MQTT-4.7.3-2), with a wildcard (MQTT-4.7.0-1), or longer
/// than 65,535 bytes (MQTT-4.7.3-3).
pub fn validate_name(name: &str) -> Result<(), DecodeError> {
    if name.is_empty() {
        return Err(DecodeError::TopicEmpty);
    }
    if name.len() > BYTES_MAX {
        return Err(DecodeError::PacketTooLarge);
    }
    string_without_wildcards(name.as_bytes()).map(drop)
}

/// A topic filter, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Name of the group of a shared subscription; `$queue` for `$queue/...`.
    pub share: Option<&'a str>,
    /// The filter proper, without the prefix of a shared subscription.
    pub levels: &'a str,
    /// Whether the filter proper contains `+` or `#`.
    pub has_wildcard: bool,
}

/// Why a text is no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// MQTT-4.7.3-1.
    Empty,
    /// MQTT-4.7.3-3.
    TooLong,
    /// MQTT-4.7.3-2.
    NulCharacter,
    /// `#` is not alone in the last level (MQTT-4.7.1-1).
    MultiLevelWildcard,
    /// `+` is not alone in its level (MQTT-4.7.1-2).
    SingleLevelWildcard,
    /// The share name is empty or has a wildcard, or no filter follows (MQTT-4.8.2-1, -2).
    ShareName,
}

impl<'a> Filter<'a> {
    /// Takes a filter apart, the prefix of a shared subscription included.
    ///
    /// # Errors
    /// As [`FilterError`] lists them.
    pub fn parse(text: &'a str) -> Result<Filter<'a>, FilterError> {
        if text.len() > BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        let (share, levels) = split_share(text)?;
        Ok(Filter {
            share,
            levels,
            has_wildcard: check_levels(levels)?,
        })
    }

    /// Levels of the filter proper.
    pub fn level_count(&self) -> usize {
        level_count(self.levels)
    }
}

impl std::fmt::Display for FilterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FilterError::Empty => "the topic filter is empty",
            FilterError::TooLong => "the topic filter has more than 65,535 bytes",
            FilterError::NulCharacter => "the topic filter contains U+0000",
            FilterError::MultiLevelWildcard => "'#' is not alone in the last level",
            FilterError::SingleLevelWildcard => "'+' is not alone in its level",
            FilterError::ShareName => "the shared subscription has no valid name and filter",
        })
    }
}

impl std::error::Error for FilterError {}

/// Levels of a topic name or filter.
pub fn level_count(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'/').count() + 1
}

/// Whether a filter (without share prefix) matches a topic name, level by level (section 4.7).
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false; // MQTT-4.7.2-1
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

fn split_share(text: &str) -> Result<(Option<&str>, &str), FilterError> {
    if let Some(levels) = text.strip_prefix("$queue/") {
        let levels = Some(levels).filter(|levels| !levels.is_empty());
        return Ok((Some("$queue"), levels.ok_or(FilterError::ShareName)?));
    }
    let Some(shared) = text.strip_prefix("$share/") else {
        return Ok((None, text));
    };
    match shared.split_once('/') {
        Some((name, levels)) if !name.is_empty() && !levels.is_empty() => {
            match name.contains(['+', '#', '\0']) {
                true => Err(FilterError::ShareName),
                false => Ok((Some(name), levels)),
            }
        }
        _ => Err(FilterError::ShareName),
    }
}

/// Checks where wildcards stand, and says whether there are any.
fn check_levels(levels: &str) -> Result<bool, FilterError> {
    if levels.is_empty() {
        return Err(FilterError::Empty);
    }
    let mut has_wildcard = false;
    let mut ended = false;
    for level in levels.split('/') {
        if ended {
            return Err(FilterError::MultiLevelWildcard);
        }
        match level {
            "+" => has_wildcard = true,
            "#" => (has_wildcard, ended) = (true, true),
            _ if level.contains('#') => return Err(FilterError::MultiLevelWildcard),
            _ if level.contains('+') => return Err(FilterError::SingleLevelWildcard),
            _ if level.contains('\0') => return Err(FilterError::NulCharacter),
            _ => {}
        }
    }
    Ok(has_wildcard)
}

/// UTF-8 Encoded String (MQTT-1.5.4-1, -2).
#[inline]
pub(super) fn string(bytes: &[u8]) -> Result<&str, DecodeError> {
    checked::<false>(bytes)
}

/// UTF-8 Encoded String without `+` and `#`; it may be empty.
#[inline]
pub(super) fn string_without_wildcards(bytes: &[u8]) -> Result<&str, DecodeError> {
    checked::<true>(bytes)
}

/// One pass, eight bytes at a time; only what is not plain ASCII is looked at again.
#[inline]
fn checked<const NAME: bool>(bytes: &[u8]) -> Result<&str, DecodeError> {
    if is_plain::<NAME>(bytes) {
        // SAFETY: `is_plain` holds for ASCII only.
        return Ok(unsafe { from_utf8_unchecked(bytes) });
    }
    checked_slowly::<NAME>(bytes)
}

#[cold]
fn checked_slowly<const NAME: bool>(bytes: &[u8]) -> Result<&str, DecodeError> {
    let text = from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)?;
    // The three are one byte each in UTF-8, which is no part of another character.
    let (nul, wildcard) = bytes.iter().fold((false, false), |(nul, wildcard), &byte| {
        (
            nul | (byte == 0),
            wildcard | (byte == b'+') | (byte == b'#'),
        )
    });
    if nul {
        return Err(DecodeError::NulCharacter);
    }
    if NAME && wildcard {
        return Err(DecodeError::TopicWildcard);
    }
    Ok(text)
}

/// Whether all bytes are ASCII, not NUL and, in a name, not `+` or `#`.
#[inline]
fn is_plain<const NAME: bool>(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.iter().all(|&byte| is_plain_byte::<NAME>(byte));
    };
    let (chunks, _) = bytes.as_chunks::<8>();
    let odd = |chunk: &[u8; 8]| odd_bits::<NAME>(u64::from_ne_bytes(*chunk));
    let bits = chunks
        .iter()
        .fold(odd(last), |bits, chunk| bits | odd(chunk));
    bits == 0
}

#[inline]
fn is_plain_byte<const NAME: bool>(byte: u8) -> bool {
    let wildcard = NAME && (byte == b'+' || byte == b'#');
    byte.is_ascii() && byte != 0 && !wildcard
}

/// Zero if every byte of `word` is plain. The classic test for a zero byte, `(w - 01..) & !w &
/// 80..`, may also mark bytes above a true zero, never a word without one.
#[inline]
fn odd_bits<const NAME: bool>(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let mut bits = word | zero(word);
    if NAME {
        bits |= zero(word ^ (ONES * b'+' as u64)) | zero(word ^ (ONES * b'#' as u64));
    }
    bits & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_every_length_and_place() {
        for len in 1..40 {
            for at in 0..len {
                for (byte, error) in [
                    (b'+', DecodeError::TopicWildcard),
                    (b'#', DecodeError::TopicWildcard),
                    (0, DecodeError::NulCharacter),
                    (0xFF, DecodeError::NotUtf8),
                ] {
                    let mut name = vec![b'x'; len];
                    name[at] = byte;
                    assert_eq!(string_without_wildcards(&name), Err(error));
                    let text = string(&name);
                    assert_eq!(text.is_ok(), error == DecodeError::TopicWildcard);
                }
            }
            let name = "/".repeat(len);
            assert_eq!(validate_name(&name), Ok(()));
        }
    }

    #[test]
    fn names_may_hold_any_character_but_three() {
        let all: String = ('\u{1}'..=char::MAX)
            .filter(|c| !"+#".contains(*c))
            .collect();
        for part in all.as_bytes().chunks(60_000) {
            let part = String::from_utf8_lossy(part);
            assert_eq!(validate_name(&part), Ok(()));
        }
        assert_eq!(string(b"\xEF\xBB\xBFa").map(str::len), Ok(4)); // MQTT-1.5.4-3
        assert_eq!(string(b"\xED\xA0\x80"), Err(DecodeError::NotUtf8)); // a surrogate
        assert_eq!(validate_name(""), Err(DecodeError::TopicEmpty));
        assert_eq!(
            validate_name(&"a".repeat(65_536)),
            Err(DecodeError::PacketTooLarge)
        );
    }

    #[test]
    fn filters() {
        use FilterError::*;
        for (text, wanted) in [
            ("a/b", Ok((None, "a/b", false))),
            ("#", Ok((None, "#", true))),
            ("+/a//#", Ok((None, "+/a//#", true))),
            ("/", Ok((None, "/", false))),
            ("$share", Ok((None, "$share", false))),
            ("$share/g/a/+", Ok((Some("g"), "a/+", true))),
            ("$share/g//a", Ok((Some("g"), "/a", false))),
            ("$queue/a", Ok((Some("$queue"), "a", false))),
            ("", Err(Empty)),
            ("a/#/b", Err(MultiLevelWildcard)),
            ("a#", Err(MultiLevelWildcard)),
            ("a/+b", Err(SingleLevelWildcard)),
            ("a\0b", Err(NulCharacter)),
            ("$share/", Err(ShareName)),
            ("$share/g", Err(ShareName)),
            ("$share/g/", Err(ShareName)),
            ("$share//a", Err(ShareName)),
            ("$share/g+/a", Err(ShareName)),
            ("$share/#/a", Err(ShareName)),
            ("$queue/", Err(ShareName)),
        ] {
            let parsed = Filter::parse(text);
            let parsed = parsed.map(|f| (f.share, f.levels, f.has_wildcard));
            assert_eq!(parsed, wanted, "{text:?}");
        }
        assert_eq!(Filter::parse(&"a".repeat(65_536)), Err(TooLong));
    }

    #[test]
    fn matching() {
        for (filter, topic, wanted) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/x",
                true,
            ),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("a", "A", false),
        ] {
            assert_eq!(matches(filter, topic), wanted, "{filter} {topic}");
        }
    }
}
