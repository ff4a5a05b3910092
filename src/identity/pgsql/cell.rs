//! Parameters and columns as text, whatever types the tables gave them.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::BytesMut;
use postgres::types::{Format, FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

type Failure = Box<dyn Error + Sync + Send>;

/// A parameter in text form, which the server reads as the type that the place wants: what a quoted
/// text in the query would be, without its danger.
#[derive(Debug)]
pub struct Parameter<'a>(pub Option<&'a str>);

impl ToSql for Parameter<'_> {
    fn to_sql(&self, _type: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        let Some(text) = self.0 else {
            return Ok(IsNull::Yes);
        };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_type: &Type) -> bool {
        true
    }

    fn encode_format(&self, _type: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// A column as text; numbers in decimal, addresses with their prefix when there is one.
#[derive(Debug, PartialEq, Eq)]
pub struct Cell(pub String);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(type_: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        if let Kind::Domain(inner) = type_.kind() {
            return Self::from_sql(inner, raw);
        }
        let text = match *type_ {
            Type::BOOL => bool::from_sql(type_, raw)?.to_string(),
            Type::INT2 => i16::from_sql(type_, raw)?.to_string(),
            Type::INT4 => i32::from_sql(type_, raw)?.to_string(),
            Type::INT8 => i64::from_sql(type_, raw)?.to_string(),
            Type::CHAR => char::from(*raw.first().unwrap_or(&b' ')).to_string(),
            Type::INET | Type::CIDR => address(raw)?,
            // `char(40)` is filled up with spaces, which no hash or name has at its end.
            Type::BPCHAR => std::str::from_utf8(raw)?.trim_end_matches(' ').into(),
            // Text, names, enumerations, citext.
            _ => std::str::from_utf8(raw)?.into(),
        };
        Ok(Self(text))
    }

    fn accepts(type_: &Type) -> bool {
        match type_.kind() {
            Kind::Domain(inner) => <Self as FromSql>::accepts(inner),
            Kind::Enum(_) => true,
            Kind::Simple => {
                matches!(
                    *type_,
                    Type::BOOL
                        | Type::INT2
                        | Type::INT4
                        | Type::INT8
                        | Type::CHAR
                        | Type::INET
                        | Type::CIDR
                        | Type::BPCHAR
                        | Type::TEXT
                        | Type::VARCHAR
                        | Type::NAME
                        | Type::UNKNOWN
                        | Type::BYTEA
                        | Type::JSON
                ) || type_.name() == "citext"
            }
            _ => false,
        }
    }
}

/// `inet` and `cidr` on the wire: family, prefix, a flag, length, address.
fn address(raw: &[u8]) -> Result<String, Failure> {
    let (prefix, bytes) = match raw {
        [_, prefix, _, _, bytes @ ..] => (*prefix, bytes),
        _ => return Err("an address is cut short".into()),
    };
    let (ip, whole) = match bytes.len() {
        4 => (IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes)?)), 32),
        16 => (
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes)?)),
            128,
        ),
        _ => return Err("an address of an unknown family".into()),
    };
    Ok(match prefix == whole {
        true => ip.to_string(),
        false => format!("{ip}/{prefix}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_as_text() {
        for (type_, raw, text) in [
            (Type::BOOL, &[1_u8][..], "true"),
            (Type::INT2, &[0, 3], "3"),
            (Type::INT4, &[255, 255, 255, 255], "-1"),
            (Type::INT8, &[0, 0, 0, 0, 0, 0, 1, 0], "256"),
            (Type::VARCHAR, b"$2a$10$x", "$2a$10$x"),
            (Type::BPCHAR, b"abc   ", "abc"),
            (Type::INET, &[2, 32, 0, 4, 127, 0, 0, 1], "127.0.0.1"),
            (Type::CIDR, &[2, 8, 1, 4, 10, 0, 0, 0], "10.0.0.0/8"),
            (
                Type::INET,
                &[
                    3, 128, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
                ],
                "::1",
            ),
        ] {
            assert_eq!(Cell::from_sql(&type_, raw).unwrap().0, text, "{type_}");
        }
        assert!(Cell::from_sql(&Type::INET, &[2, 32]).is_err());
        assert!(Cell::from_sql(&Type::INET, &[2, 32, 0, 4, 1]).is_err());
        assert!(Cell::from_sql(&Type::TEXT, &[0xff]).is_err());
        assert!(!<Cell as FromSql>::accepts(&Type::TIMESTAMP));
        assert!(!<Cell as FromSql>::accepts(&Type::TEXT_ARRAY));
    }
}
