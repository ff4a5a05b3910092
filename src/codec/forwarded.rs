//! Properties that are kept as the bytes they came in.

use super::property::{Checked, Property};

/// The properties of a message that a server passes on unchanged and in order: Payload Format
/// Indicator, Content Type, Response Topic, Correlation Data and User Properties
/// (MQTT-3.3.2-4, -15 to -18, -20). Alias, expiry, delay and subscription identifiers are not
/// among them. Empty for 3.x.
#[derive(Clone, Copy, Default)]
pub struct Forwarded<'a> {
    /// Property section; others may stand between those to pass on.
    section: &'a [u8],
    /// Bytes of those to pass on.
    len: usize,
}

impl<'a> Forwarded<'a> {
    /// Those that [`Forwarded::write_to`] wrote.
    #[inline]
    pub fn from_stored(bytes: &'a [u8]) -> Forwarded<'a> {
        Forwarded {
            section: bytes,
            len: bytes.len(),
        }
    }

    /// Those of a checked section; `len` bytes of it are to be passed on.
    #[inline]
    pub(super) fn of_section(section: &'a [u8], len: usize) -> Forwarded<'a> {
        match len {
            0 => Forwarded::default(),
            _ => Forwarded { section, len },
        }
    }

    /// Bytes that [`Forwarded::write_to`] appends.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends the properties, without a length before them.
    #[inline]
    pub fn write_to(&self, out: &mut Vec<u8>) {
        if self.section.len() == self.len {
            out.extend_from_slice(self.section);
        } else {
            self.write_selected(out);
        }
    }

    /// Whether the publisher says that the payload is UTF-8 text.
    pub fn payload_is_utf8(&self) -> bool {
        let format = self.find(|property| match property {
            Property::PayloadFormatIndicator(utf8) => Some(utf8),
            _ => None,
        });
        format.unwrap_or(false)
    }

    pub fn content_type(&self) -> Option<&'a str> {
        self.find(|property| match property {
            Property::ContentType(value) => Some(value),
            _ => None,
        })
    }

    pub fn response_topic(&self) -> Option<&'a str> {
        self.find(|property| match property {
            Property::ResponseTopic(value) => Some(value),
            _ => None,
        })
    }

    pub fn correlation_data(&self) -> Option<&'a [u8]> {
        self.find(|property| match property {
            Property::CorrelationData(value) => Some(value),
            _ => None,
        })
    }

    pub fn user_properties(&self) -> UserProperties<'a> {
        UserProperties::from_stored(self.section)
    }

    fn find<T>(&self, pick: impl FnMut(Property<'a>) -> Option<T>) -> Option<T> {
        Checked::new(self.section)
            .map(|(_, property)| property)
            .find_map(pick)
    }

    #[cold]
    fn write_selected(&self, out: &mut Vec<u8>) {
        out.reserve(self.len);
        let kept = Checked::new(self.section).filter(|(_, property)| is_forwarded(property));
        kept.for_each(|(bytes, _)| out.extend_from_slice(bytes));
    }
}

/// Whether a server passes the property on with the message.
#[inline]
pub(super) fn is_forwarded(property: &Property<'_>) -> bool {
    matches!(
        property,
        Property::PayloadFormatIndicator(_)
            | Property::ContentType(_)
            | Property::ResponseTopic(_)
            | Property::CorrelationData(_)
            | Property::User(..)
    )
}

impl PartialEq for Forwarded<'_> {
    fn eq(&self, other: &Self) -> bool {
        let kept = |of: &Self| {
            let bytes = Checked::new(of.section).filter(|(_, property)| is_forwarded(property));
            bytes
                .flat_map(|(bytes, _)| bytes.to_vec())
                .collect::<Vec<_>>()
        };
        self.len == other.len && kept(self) == kept(other)
    }
}

impl Eq for Forwarded<'_> {}

impl std::fmt::Debug for Forwarded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kept = Checked::new(self.section).map(|(_, property)| property);
        f.debug_list().entries(kept.filter(is_forwarded)).finish()
    }
}

/// User Properties in the order they came; other properties may stand between them.
#[derive(Clone, Copy, Default)]
pub struct UserProperties<'a> {
    section: &'a [u8],
}

impl<'a> UserProperties<'a> {
    /// Those among encoded properties, such as [`UserProperties::push`] makes.
    #[inline]
    pub fn from_stored(section: &'a [u8]) -> UserProperties<'a> {
        UserProperties { section }
    }

    /// Appends one, encoded, to a buffer for [`UserProperties::from_stored`].
    ///
    /// # Panics
    /// If name or value have more than 65,535 bytes.
    pub fn push(encoded: &mut Vec<u8>, name: &str, value: &str) {
        Property::User(name, value).write(encoded);
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        Checked::new(self.section).filter_map(|(_, property)| match property {
            Property::User(name, value) => Some((name, value)),
            _ => None,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            UserProperties::push(out, name, value);
        }
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserProperties<'_> {}

impl std::fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Subscription Identifiers of a delivered message, in order; other properties may stand between.
#[derive(Clone, Copy, Default)]
pub struct SubscriptionIds<'a> {
    section: &'a [u8],
}

impl<'a> SubscriptionIds<'a> {
    #[inline]
    pub(super) fn of_section(section: &'a [u8]) -> SubscriptionIds<'a> {
        SubscriptionIds { section }
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        Checked::new(self.section).filter_map(|(_, property)| match property {
            Property::SubscriptionIdentifier(id) => Some(id),
            _ => None,
        })
    }
}

impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscriptionIds<'_> {}

impl std::fmt::Debug for SubscriptionIds<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
