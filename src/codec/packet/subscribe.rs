//! SUBSCRIBE (section 3.8).

use super::{Version, flags_of_request};
use crate::codec::error::DecodeError;
use crate::codec::forwarded::UserProperties;
use crate::codec::property::{Properties, Property, id, write_some};
use crate::codec::reader::Reader;
use crate::codec::version::QoS;
use crate::codec::writer;

/// A SUBSCRIBE. Whether its filters are filters is for [`crate::codec::topic::Filter`] to say.
#[derive(Clone, Copy, Debug)]
pub struct Subscribe<'a> {
    pub packet_id: u16,
    /// 1 to 268,435,455.
    pub subscription_id: Option<u32>,
    pub user_properties: UserProperties<'a>,
    list: List<'a>,
}

/// Subscription Options (section 3.8.3.1); 3.x has the QoS only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscribeOptions {
    /// Greatest QoS that is wanted.
    pub qos: QoS,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent (MQTT-3.3.1-9 to -11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    #[default]
    OnSubscribe = 0,
    OnNewSubscription = 1,
    Never = 2,
}

#[derive(Clone, Copy, Debug)]
enum List<'a> {
    /// As received, and checked.
    Wire(&'a [u8]),
    Given(&'a [(&'a str, SubscribeOptions)]),
}

impl<'a> Subscribe<'a> {
    /// One to send; `filters` is not empty.
    pub fn new(packet_id: u16, filters: &'a [(&'a str, SubscribeOptions)]) -> Subscribe<'a> {
        Subscribe {
            packet_id,
            subscription_id: None,
            user_properties: UserProperties::default(),
            list: List::Given(filters),
        }
    }

    /// Decodes; `header` is the first byte of the packet.
    ///
    /// # Errors
    /// Reserved flags (MQTT-3.8.1-1), no filter (MQTT-3.8.3-2), reserved option bits
    /// (MQTT-3.8.3-5, MQTT-3-8.3-4 of 3.1.1), No Local on a shared subscription (MQTT-3.8.3-4),
    /// and what holds for every packet.
    pub fn decode(
        header: u8,
        body: &'a [u8],
        version: Version,
    ) -> Result<Subscribe<'a>, DecodeError> {
        flags_of_request(header, version)?;
        let mut reader = Reader::new(body);
        let mut subscribe = Subscribe::new(reader.packet_id()?, &[]);
        if version == Version::V5 {
            subscribe.read_properties(&mut reader)?;
        }
        if reader.is_empty() {
            return Err(DecodeError::NoFilters);
        }
        let wire = reader.rest();
        let mut filters = Reader::new(wire);
        while !filters.is_empty() {
            read_filter(&mut filters, version)?;
        }
        subscribe.list = List::Wire(wire);
        Ok(subscribe)
    }

    /// Filters and their options, in order.
    pub fn filters(&self) -> SubscribeFilters<'a> {
        match self.list {
            List::Wire(wire) => SubscribeFilters::read(wire),
            List::Given(given) => SubscribeFilters {
                given,
                ..SubscribeFilters::read(&[])
            },
        }
    }

    /// Appends the packet.
    ///
    /// # Panics
    /// If a filter has more than 65,535 bytes.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        writer::packet(out, 0x82, |out| {
            writer::u16(out, self.packet_id);
            if version == Version::V5 {
                writer::section(out, |out| {
                    write_some(out, self.subscription_id, Property::SubscriptionIdentifier);
                    self.user_properties.write_to(out);
                });
            }
            for (filter, options) in self.filters() {
                writer::string(out, filter);
                out.push(options.to_byte(version));
            }
        });
    }

    fn read_properties(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        let mut properties = Properties::read(reader)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::SubscriptionIdentifier(id) => {
                    if self.subscription_id.replace(id).is_some() {
                        return Err(properties.repeated());
                    }
                }
                Property::User(..) => {}
                _ => return Err(properties.not_allowed()),
            }
        }
        let section = properties.section_with(id::USER_PROPERTY);
        self.user_properties = UserProperties::from_stored(section);
        Ok(())
    }
}

/// Filters of a SUBSCRIBE with their options.
#[derive(Clone)]
pub struct SubscribeFilters<'a> {
    wire: Reader<'a>,
    given: &'a [(&'a str, SubscribeOptions)],
}

impl<'a> SubscribeFilters<'a> {
    /// Goes on with what [`rest`](Self::rest) has left.
    pub fn read(rest: &'a [u8]) -> SubscribeFilters<'a> {
        SubscribeFilters {
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

impl<'a> Iterator for SubscribeFilters<'a> {
    type Item = (&'a str, SubscribeOptions);

    fn next(&mut self) -> Option<Self::Item> {
        // The v5 reading of options is right for 3.x, whose upper bits were seen to be 0.
        if let Ok(filter) = read_filter(&mut self.wire, Version::V5) {
            return Some(filter);
        }
        let (&first, rest) = self.given.split_first()?;
        self.given = rest;
        Some(first)
    }
}

fn read_filter<'a>(
    reader: &mut Reader<'a>,
    version: Version,
) -> Result<(&'a str, SubscribeOptions), DecodeError> {
    let filter = reader.string()?;
    let options = SubscribeOptions::from_byte(reader.u8()?, version)?;
    let is_shared = filter.starts_with("$share/") || filter.starts_with("$queue/");
    if options.no_local && is_shared {
        return Err(DecodeError::NoLocalOnShared);
    }
    Ok((filter, options))
}

impl SubscribeOptions {
    /// Options of a 3.x subscription, or v5 options that are otherwise default.
    pub fn with_qos(qos: QoS) -> SubscribeOptions {
        SubscribeOptions {
            qos,
            ..SubscribeOptions::default()
        }
    }

    fn from_byte(byte: u8, version: Version) -> Result<SubscribeOptions, DecodeError> {
        let reserved = match version {
            Version::V5 => 0xC0,
            _ => 0xFC,
        };
        if byte & reserved != 0 {
            return Err(DecodeError::SubscribeOptionsReserved);
        }
        Ok(SubscribeOptions {
            qos: QoS::try_from(byte & 3).map_err(|_| DecodeError::SubscribeQoS)?,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling: match byte >> 4 {
                0 => RetainHandling::OnSubscribe,
                1 => RetainHandling::OnNewSubscription,
                2 => RetainHandling::Never,
                _ => return Err(DecodeError::RetainHandling),
            },
        })
    }

    fn to_byte(self, version: Version) -> u8 {
        match version {
            Version::V5 => {
                self.qos as u8
                    | u8::from(self.no_local) << 2
                    | u8::from(self.retain_as_published) << 3
                    | (self.retain_handling as u8) << 4
            }
            _ => self.qos as u8,
        }
    }
}

impl PartialEq for Subscribe<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.packet_id == other.packet_id
            && self.subscription_id == other.subscription_id
            && self.user_properties == other.user_properties
            && self.filters().eq(other.filters())
    }
}

impl Eq for Subscribe<'_> {}
