//! Access rules in memory, found by whom they may be about.

use std::collections::HashMap;

use crate::auth::acl::row::Row;
use crate::identity::pgsql::session::Cells;

/// One row of the table, as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    columns: [Option<Box<str>>; 6],
}

/// All rows, in the order in which they came.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Stored>,
    by_user: HashMap<Box<str>, Vec<u32>>,
    by_client: HashMap<Box<str>, Vec<u32>>,
    /// Those that name neither.
    others: Vec<u32>,
}

impl Stored {
    /// # Errors
    /// There are not the six columns `allow, ipaddr, username, clientid, access, topic`.
    pub fn new(cells: Cells) -> Result<Self, String> {
        let count = cells.len();
        let cells: Vec<_> = cells.into_iter().map(|cell| cell.map(Into::into)).collect();
        match cells.try_into() {
            Ok(columns) => Ok(Self { columns }),
            Err(_) => Err(format!(
                "six columns are wanted (allow, ipaddr, username, clientid, access, topic), not \
                 {count}"
            )),
        }
    }

    pub fn row(&self) -> Row<'_> {
        let [allow, ipaddr, username, clientid, access, topic] = &self.columns;
        Row {
            allow: allow.as_deref(),
            ipaddr: ipaddr.as_deref(),
            username: username.as_deref(),
            clientid: clientid.as_deref(),
            access: access.as_deref(),
            topic: topic.as_deref(),
        }
    }

    /// Those of address, user name and client id that are set.
    fn names(&self) -> [Option<&str>; 3] {
        let [_, ipaddr, username, clientid, ..] = &self.columns;
        [ipaddr, username, clientid].map(|name| {
            name.as_deref()
                .map(str::trim)
                .filter(|name| !name.is_empty())
        })
    }
}

impl Table {
    /// Adds a row behind those that are there. One that names nobody is left out, as a query by
    /// names would never find it.
    pub fn push(&mut self, stored: Stored) {
        let index = self.rows.len() as u32;
        let list = match stored.names() {
            [None, None, None] => return,
            [_, Some(user), _] if user != "$all" => self.by_user.entry(user.into()).or_default(),
            [_, None, Some(client)] => self.by_client.entry(client.into()).or_default(),
            _ => &mut self.others,
        };
        list.push(index);
        self.rows.push(stored);
    }

    /// The rows that may be about a client, in their order.
    pub fn about(&self, username: &str, client_id: &str) -> Vec<Row<'_>> {
        let of = |map: &HashMap<Box<str>, Vec<u32>>, name: &str| {
            map.get(name).map_or(Vec::new(), Clone::clone)
        };
        let mut found = of(&self.by_user, username);
        found.extend(of(&self.by_client, client_id));
        found.extend(&self.others);
        found.sort_unstable();
        found
            .into_iter()
            .map(|index| self.rows[index as usize].row())
            .collect()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(ipaddr: &str, username: &str, clientid: &str, topic: &str) -> Stored {
        let some = |text: &str| Some(text.to_owned());
        let columns = vec![
            some("1"),
            some(ipaddr),
            some(username),
            some(clientid),
            some("3"),
            some(topic),
        ];
        Stored::new(columns).unwrap()
    }

    #[test]
    fn rows_are_found_by_names_and_in_order() {
        let mut table = Table::default();
        for row in [
            stored("", "u", "", "1"),
            stored("", "", "c", "2"),
            stored("", "$all", "", "3"),
            stored("10.0.0.0/8", "", "", "4"),
            stored("", "v", "c", "5"),
            stored("", " ", "", "6"),
            stored("", "u", "d", "7"),
        ] {
            table.push(row);
        }
        let topics = |username, client_id| {
            let rows = table.about(username, client_id);
            rows.iter().filter_map(|row| row.topic).collect::<String>()
        };
        assert_eq!(topics("u", "c"), "12347");
        assert_eq!(topics("x", "x"), "34");
        assert_eq!(topics("v", "x"), "345");
        assert_eq!(table.len(), 6);
        assert!(Stored::new(vec![None; 5]).is_err());
    }
}
