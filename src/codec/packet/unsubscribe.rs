//! UNSUBSCRIBE (section 3.10).

use super::{Version, flags_of_request};
use crate::codec::error::DecodeError;
use crate::codec::forwarded::UserProperties;
use crate::codec::property::{Properties, Property, id};
use crate::codec::reader::Reader;
use crate::codec::writer;

/// An UNSUBSCRIBE.
#[derive(Clone, Copy, Debug)]
pub struct Unsubscribe<'a> {
    pub packet_id: u16,
    pub user_properties: UserProperties<'a>,
    list: List<'a>,
}

#[derive(Clone, Copy, Debug)]
enum List<'a> {
    /// As received, and checked.
    Wire(&'a [u8]),
    Given(&'a [&'a str]),
}

impl<'a> Unsubscribe<'a> {
    /// One to send; `filters` is not empty.
    pub fn new(packet_id: u16, filters: &'a [&'a str]) -> Unsubscribe<'a> {
        Unsubscribe {
            packet_id,
            user_properties: UserProperties::default(),
            list: List::Given(filters),
        }
    }

    /// Decodes; `header` is the first byte of the packet.
    ///
    /// # Errors
    /// Reserved flags (MQTT-3.10.1-1), no filter (MQTT-3.10.3-2), and what holds for every packet.
    pub fn decode(
        header: u8,
        body: &'a [u8],
        version: Version,
    ) -> Result<Unsubscribe<'a>, DecodeError> {
        flags_of_request(header, version)?;
        let mut reader = Reader::new(body);
        let mut unsubscribe = Unsubscribe::new(reader.packet_id()?, &[]);
        if version == Version::V5 {
            let mut properties = Properties::read(&mut reader)?;
            while let Some(property) = properties.next()? {
                if !matches!(property, Property::User(..)) {
                    return Err(properties.not_allowed());
                }
            }
            let section = properties.section_with(id::USER_PROPERTY);
            unsubscribe.user_properties = UserProperties::from_stored(section);
        }
        if reader.is_empty() {
            return Err(DecodeError::NoFilters);
        }
        let wire = reader.rest();
        let mut filters = Reader::new(wire);
        while !filters.is_empty() {
            filters.string()?;
        }
        unsubscribe.list = List::Wire(wire);
        Ok(unsubscribe)
    }

    /// Filters, in order.
    pub fn filters(&self) -> UnsubscribeFilters<'a> {
        match self.list {
            List::Wire(wire) => UnsubscribeFilters::read(wire),
            List::Given(given) => UnsubscribeFilters {
                given,
                ..UnsubscribeFilters::read(&[])
            },
        }
    }

    /// Appends the packet.
    ///
    /// # Panics
    /// If a filter has more than 65,535 bytes.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        writer::packet(out, 0xA2, |out| {
            writer::u16(out, self.packet_id);
            if version == Version::V5 {
                writer::section(out, |out| self.user_properties.write_to(out));
            }
            self.filters()
                .for_each(|filter| writer::string(out, filter));
        });
    }
}

/// Filters of an UNSUBSCRIBE.
#[derive(Clone)]
pub struct UnsubscribeFilters<'a> {
    wire: Reader<'a>,
    given: &'a [&'a str],
}

impl<'a> UnsubscribeFilters<'a> {
    /// Goes on with what [`rest`](Self::rest) has left.
    pub fn read(rest: &'a [u8]) -> UnsubscribeFilters<'a> {
        UnsubscribeFilters {
            wire: Reader::new(rest),
            given: &[],
        }
    }

    /// Of a packet that was received: those that were not looked at yet, as they came.
    pub fn rest(&self) -> &'a [u8] {
        let mut reader = self.wire;
        reader.rest()
    }
}

impl<'a> Iterator for UnsubscribeFilters<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if let Ok(filter) = self.wire.string() {
            return Some(filter);
        }
        let (&first, rest) = self.given.split_first()?;
        self.given = rest;
        Some(first)
    }
}

impl PartialEq for Unsubscribe<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.packet_id == other.packet_id
            && self.user_properties == other.user_properties
            && self.filters().eq(other.filters())
    }
}

impl Eq for Unsubscribe<'_> {}
