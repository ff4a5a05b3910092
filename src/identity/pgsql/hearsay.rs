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
/// Functions of this database's own whose result may be another without a change of theirs: no plan
/// tells what one of them reads. One that the planner has taken apart stands in none.
const FUNCTIONS: &str = "select distinct p.proname::text from pg_proc p \
    join pg_namespace n on n.oid = p.pronamespace where p.provolatile <> 'i' \
    and n.nspname not in ('pg_catalog', 'information_schema')";
/// Operators that are such functions, and types that such a function casts to. No plan shows a cast
/// that nobody wrote, so it counts whether or not a query has it.
const OPERATORS: &str = "select distinct o.oprname::text from pg_operator o \
    join pg_proc p on p.oid = o.oprcode join pg_namespace n on n.oid = p.pronamespace \
    where p.provolatile <> 'i' and n.nspname not in ('pg_catalog', 'information_schema')";
const CASTS: &str = "select distinct format_type(c.casttarget, null) from pg_cast c \
    join pg_proc p on p.oid = c.castfunc join pg_namespace n on n.oid = p.pronamespace \
    where p.provolatile <> 'i' and n.nspname not in ('pg_catalog', 'information_schema')";
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
    let functions = names(session, FUNCTIONS, deadline)?;
    let operators = names(session, OPERATORS, deadline)?;
    if let Some(name) = names(session, CASTS, deadline)?.first() {
        let what = format!("what is cast to {name} goes through a function");
        return Ok(Some(what));
    }
    rows(session, ANY_VALUE, deadline)?;
    for (key, sql, variables) in read_queries(options) {
        let prepare = format!("prepare ringmq_look as {sql}");
        rows(session, &prepare, deadline)?;
        let values = match variables {
            0 => String::new(),
            count => format!("({})", vec!["null"; count].join(", ")),
        };
        let explain = format!("explain (verbose, format json) execute ringmq_look{values}");
        let plan = rows(session, &explain, deadline);
        // Whatever came of it, or the next look could not have that name.
        rows(session, "deallocate ringmq_look", deadline)?;
        let plan = plan?.into_iter().flatten().flatten().next();
        let plan = serde_json::from_str(&plan.unwrap_or_default()).unwrap_or(Value::Null);
        if let Some(name) = functions.iter().find(|name| calls(&plan, name)) {
            return Ok(Some(format!("auth.pgsql.{key} calls {name}()")));
        }
        if let Some(name) = operators.iter().find(|name| has_operator(&plan, name)) {
            return Ok(Some(format!("auth.pgsql.{key} has the operator {name}")));
        }
        if asks_for_the_time(&plan) {
            return Ok(Some(format!(
                "auth.pgsql.{key} looks at the time or the like"
            )));
        }
        let read = read_by(&plan);
        let found = match read.iter().find(|read| !watched.contains(*read)) {
            Some((schema, name)) => format!("auth.pgsql.{key} reads {schema}.{name}"),
            None if read.is_empty() => format!("auth.pgsql.{key} reads no table"),
            None => continue,
        };
        return Ok(Some(found));
    }
    Ok(None)
}

/// What is asked about a client, and what the mirror reads: key, text and number of parameters.
fn read_queries(options: &Options) -> Vec<(&'static str, &str, usize)> {
    let of_clients = options.queries();
    let mut queries: Vec<_> = of_clients
        .map(|(key, query)| (key, query.sql(), query.variables().len()))
        .collect();
    if options.mirror {
        queries.push(("mirror_query", options.mirror_query(), 0));
        if options.acl_query.is_some() {
            queries.push(("mirror_acl_query", options.mirror_acl_query(), 0));
        }
    }
    queries
}

fn rows(session: &mut Session, sql: &str, deadline: Instant) -> Result<Vec<Cells>, Failure> {
    let mut rows = Vec::new();
    session.query((sql, &[]), deadline, |row| {
        rows.push(row);
        true
    })?;
    Ok(rows)
}

/// The first column.
fn names(session: &mut Session, sql: &str, deadline: Instant) -> Result<Vec<String>, Failure> {
    let rows = rows(session, sql, deadline)?.into_iter();
    Ok(rows
        .filter_map(|row| row.into_iter().next().flatten())
        .collect())
}

/// The tables, and what else rows come from, in a plan as JSON: schema and name.
fn read_by(plan: &Value) -> BTreeSet<(String, String)> {
    let sources = within(plan).into_iter().filter_map(|value| {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let name = text("Relation Name").or(text("Function Name"))?;
        Some((text("Schema").unwrap_or_default().into(), name.into()))
    });
    sources.collect()
}

/// Whether an expression in a plan calls a function of this name; a name with other signs than
/// letters stands in quotes there.
fn calls(plan: &Value, name: &str) -> bool {
    let quoted = format!("\"{}\"(", name.replace('"', "\"\""));
    let bare = format!("{name}(");
    let is_call = |text: &str| {
        text.contains(&quoted)
            || text.match_indices(&bare).any(|(at, _)| {
                let before = text[..at].chars().next_back();
                before.is_none_or(|before| !before.is_alphanumeric() && !"_$".contains(before))
            })
    };
    let all = within(plan);
    all.iter().any(|value| value.as_str().is_some_and(is_call))
}

/// Whether an expression in a plan has an operator of this name, anybody's: `a ==> b`, `(!! a)`,
/// `lower((!! a))`, `a OPERATOR(public.==>) b`.
fn has_operator(plan: &Value, name: &str) -> bool {
    let of_schema = format!(".{name})");
    let is_alone = |word: &str| {
        let after = word.rsplit('(').next().unwrap_or(word);
        after.trim_end_matches([')', ',']) == name
    };
    let is_it = |word: &str| is_alone(word) || word.contains(&of_schema);
    let has = |text: &str| text.split_ascii_whitespace().any(is_it);
    let all = within(plan);
    all.iter().any(|value| value.as_str().is_some_and(has))
}

/// Whether an expression in a plan may have another value though no row has changed.
fn asks_for_the_time(plan: &Value) -> bool {
    const FUNCTIONS: [&str; 8] = [
        "now",
        "age",
        "clock_timestamp",
        "statement_timestamp",
        "transaction_timestamp",
        "timeofday",
        "random",
        "current_setting",
    ];
    const WORDS: [&str; 3] = ["CURRENT_DATE", "CURRENT_TIME", "LOCALTIME"];
    let texts = || within(plan).into_iter().filter_map(Value::as_str);
    FUNCTIONS.iter().any(|name| calls(plan, name))
        || texts().any(|text| WORDS.iter().any(|word| text.contains(word)))
}

/// A value with all that is in it.
fn within(value: &Value) -> Vec<&Value> {
    let mut found = vec![value];
    let mut at = 0;
    while let Some(&value) = found.get(at) {
        match value {
            Value::Array(items) => found.extend(items),
            Value::Object(node) => found.extend(node.values()),
            _ => {}
        }
        at += 1;
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
        let plan = serde_json::from_str(plan).unwrap();
        let found = read_by(&plan);
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
        assert!(read_by(&Value::Null).is_empty());
    }

    #[test]
    fn operators_are_found_by_their_whole_name() {
        let plan = serde_json::json!([{"Plan": {
            "Filter": "((name ==> true) AND COALESCE((!! paid), (left ???)))",
            "Output": ["(a OPERATOR(public.@>) 'x = y'::text)"]}}]);
        for name in ["==>", "!!", "@>", "???"] {
            assert!(has_operator(&plan, name), "{name}");
        }
        for name in ["==", ">", "!", "@", "<@"] {
            assert!(!has_operator(&plan, name), "{name}");
        }
    }

    #[test]
    fn calls_are_found_by_their_whole_name() {
        let plan = serde_json::json!([{"Plan": {
            "Output": ["tenants.pays(mqtt_user.id)", "lower(name)", "public.\"Odd one\"(1)"],
            "Plans": [{"Filter": "(upper(pays) = 'reads'::text)"}]}}]);
        for name in ["pays", "lower", "upper", "Odd one"] {
            assert!(calls(&plan, name), "{name}");
        }
        assert!(!asks_for_the_time(&plan));
        for text in [
            "(until > now())",
            "(day = CURRENT_DATE)",
            "(t < LOCALTIMESTAMP)",
        ] {
            assert!(asks_for_the_time(&serde_json::json!([text])), "{text}");
        }
        for name in ["ays", "name", "reads", "odd one", "tenants"] {
            assert!(!calls(&plan, name), "{name}");
        }
    }
}
