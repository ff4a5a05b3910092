//! What the queries read, and whether triggers tell of it: only then does silence say that nothing
//! has changed.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use super::failure::Failure;
use super::options::Options;
use super::session::{Cells, Session};

/// Tables whose triggers fire. What a subscription replicates into a table fires only those that
/// are enabled always.
const WATCHED: &str = "select n.nspname::text, c.relname::text from pg_trigger t \
    join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace \
    where t.tgname in ('ringmq_user_update', 'ringmq_acl_update') and (t.tgenabled = 'A' \
    or t.tgenabled = 'O' and not exists \
    (select from pg_subscription_rel s where s.srrelid = t.tgrelid))";
/// A plan for any value, which leaves out no table because of a certain one: PostgreSQL 12 has it.
const ANY_VALUE: &str = "set plan_cache_mode = force_generic_plan";

/// What the queries read of which no trigger tells, as the end of a sentence; `None`: nothing.
///
/// # Errors
/// There is no server to ask. One that does not say counts as one that does not tell.
pub fn unheard_of(
    session: &mut Session,
    options: &Options,
    deadline: Instant,
) -> Result<Option<String>, Failure> {
    match look(session, options, deadline) {
        Err(failure) if !failure.is_outage() => Ok(Some(format!(
            "what the queries read is not known ({failure})"
        ))),
        looked => looked,
    }
}

fn look(
    session: &mut Session,
    options: &Options,
    deadline: Instant,
) -> Result<Option<String>, Failure> {
    let watched = rows(session, WATCHED, deadline)?.into_iter().map(|row| {
        let mut names = row.into_iter().map(Option::unwrap_or_default);
        (
            names.next().unwrap_or_default(),
            names.next().unwrap_or_default(),
        )
    });
    let watched: BTreeSet<(String, String)> = watched.collect();
    rows(session, ANY_VALUE, deadline)?;
    for (key, query) in options.queries() {
        let values = vec!["null"; query.variables().len()].join(", ");
        let values = if values.is_empty() {
            values
        } else {
            format!("({values})")
        };
        rows(
            session,
            &format!("prepare ringmq_look as {}", query.sql()),
            deadline,
        )?;
        let explain = format!("explain (verbose, format json) execute ringmq_look{values}");
        let plan = rows(session, &explain, deadline)?;
        rows(session, "deallocate ringmq_look", deadline)?;
        let text = plan.into_iter().flatten().flatten().next();
        let read = read_by(&text.unwrap_or_default());
        let found = match read.iter().find(|read| !watched.contains(*read)) {
            Some((schema, name)) => format!("auth.pgsql.{key} reads {schema}.{name}"),
            None if read.is_empty() => format!("auth.pgsql.{key} reads no table"),
            None => continue,
        };
        return Ok(Some(found));
    }
    Ok(None)
}

fn rows(session: &mut Session, sql: &str, deadline: Instant) -> Result<Vec<Cells>, Failure> {
    let mut rows = Vec::new();
    session.query((sql, &[]), deadline, |row| {
        rows.push(row);
        true
    })?;
    Ok(rows)
}

/// The tables, and what else rows come from, in a plan as JSON: schema and name.
fn read_by(plan: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut left = vec![serde_json::from_str(plan).unwrap_or(Value::Null)];
    while let Some(value) = left.pop() {
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(node) => {
                let text = |key: &str| node.get(key).and_then(Value::as_str);
                let source = text("Relation Name").or(text("Function Name"));
                if let Some(name) = source {
                    let schema = text("Schema").unwrap_or_default();
                    found.insert((schema.to_owned(), name.to_owned()));
                }
                left.extend(node.into_iter().map(|(_, value)| value));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_wherever_they_are_read() {
        let plan = r#"[{"Plan": {"Node Type": "Nested Loop", "Plans": [
            {"Node Type": "Index Scan", "Relation Name": "mqtt_user", "Schema": "public"},
            {"Node Type": "Append", "Plans": [
                {"Node Type": "Seq Scan", "Relation Name": "tenants", "Schema": "other"},
                {"Node Type": "Function Scan", "Schema": "public", "Function Name": "f"}]}]}}]"#;
        let found = read_by(plan);
        let found: Vec<_> = found
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("other", "tenants"),
                ("public", "f"),
                ("public", "mqtt_user")
            ]
        );
        assert!(read_by("").is_empty() && read_by(r#"[{"Plan": {}}]"#).is_empty());
    }
}
