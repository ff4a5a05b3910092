//! A query as the plug-in file has it: `'%u'`, `'%c'` and `'%a'` become parameters.

/// What a place holder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// `'%u'`
    Username,
    /// `'%c'`
    ClientId,
    /// `'%a'`: the address that the client comes from.
    Address,
}

/// A query with `$1`, `$2` and so on, and what is bound to each. A variable that stands in the
/// text twice has two parameters: each takes its type from its own surroundings, as the quoted
/// text would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    sql: String,
    variables: Vec<Variable>,
}

impl Template {
    /// # Errors
    /// A quote without its end, a place holder without quotes, a parameter of the text's own.
    pub fn parse(text: &str) -> Result<Self, String> {
        let ends = |c: char| c == ';' || c.is_whitespace();
        let text = text.trim_start().trim_end_matches(ends);
        if text.is_empty() {
            return Err("a query is wanted; write no line at all for none".into());
        }
        let mut scanner = Scanner {
            text,
            at: 0,
            sql: String::with_capacity(text.len() + 8),
            variables: Vec::new(),
        };
        scanner.scan()?;
        Ok(Self {
            sql: scanner.sql,
            variables: scanner.variables,
        })
    }

    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// What to bind, `$1` first.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    sql: String,
    variables: Vec<Variable>,
}

impl Scanner<'_> {
    fn scan(&mut self) -> Result<(), String> {
        while let Some(c) = self.text[self.at..].chars().next() {
            match c {
                '\'' => self.string()?,
                '"' => {
                    let end = self.end_of(1, "\"", "a name in double quotes")?;
                    self.copy_to(end);
                }
                '-' if self.rest().starts_with("--") => {
                    return Err("a comment would hide the rest of the line".into());
                }
                '/' if self.rest().starts_with("/*") => {
                    let end = self.end_of(2, "*/", "a comment")?;
                    self.copy_to(end);
                }
                '$' => self.dollar()?,
                '%' => self.percent()?,
                c => self.copy_to(self.at + c.len_utf8()),
            }
        }
        Ok(())
    }

    /// At a single quote: a place holder, or a string that stays as it is.
    fn string(&mut self) -> Result<(), String> {
        let escapes = self.sql.ends_with(['e', 'E']) && !ends_with_word(&self.sql, 2);
        let end = self.end_of_string(escapes)?;
        let variable = match &self.text[self.at..end] {
            "'%u'" => Variable::Username,
            "'%c'" => Variable::ClientId,
            "'%a'" => Variable::Address,
            _ => {
                self.copy_to(end);
                return Ok(());
            }
        };
        self.variables.push(variable);
        // A space, where the quote stood right after a word.
        let gap = if ends_with_word(&self.sql, 1) {
            " "
        } else {
            ""
        };
        self.sql += &format!("{gap}${}", self.variables.len());
        self.at = end;
        let next = self.rest().chars().next();
        if next.is_some_and(|c| c.is_ascii_digit()) {
            self.sql.push(' ');
        }
        Ok(())
    }

    fn end_of_string(&self, escapes: bool) -> Result<usize, String> {
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if escapes => {
                    chars.next();
                }
                '\'' if chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                    chars.next();
                }
                '\'' => return Ok(self.at + at + 1),
                _ => {}
            }
        }
        Err("a quote is not closed".into())
    }

    /// At a dollar sign: `$tag$ text $tag$`, part of a name, or a parameter, which would be ours.
    fn dollar(&mut self) -> Result<(), String> {
        let rest = self.rest();
        if ends_with_word(&self.sql, 1) {
            self.copy_to(self.at + 1);
            return Ok(());
        }
        if rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return Err("parameters are written '%u', '%c' and '%a'".into());
        }
        let is_tag = |c: char| c.is_alphanumeric() || c == '_';
        let tag = match rest[1..].find(|c| !is_tag(c)) {
            Some(end) if rest[1 + end..].starts_with('$') => &rest[..end + 2],
            _ => {
                self.copy_to(self.at + 1);
                return Ok(());
            }
        };
        let end = self.end_of(tag.len(), tag, "a text in dollar signs")?;
        self.copy_to(end);
        Ok(())
    }

    /// At a percent sign outside of quotes: an operator, unless somebody forgot the quotes.
    fn percent(&mut self) -> Result<(), String> {
        let mut after = self.rest()[1..].chars();
        let is_variable = matches!(after.next(), Some('u' | 'c' | 'a'));
        let ends = |c: char| !c.is_alphanumeric() && c != '_' && c != '.';
        if is_variable && after.next().is_none_or(ends) {
            let found = &self.rest()[..2];
            return Err(format!("write '{found}' with single quotes around it"));
        }
        self.copy_to(self.at + 1);
        Ok(())
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Behind the next `end`, which is looked for `skip` bytes from here.
    fn end_of(&self, skip: usize, end: &str, what: &str) -> Result<usize, String> {
        let found = self.rest()[skip..].find(end);
        found
            .map(|at| self.at + skip + at + end.len())
            .ok_or_else(|| format!("{what} is not closed"))
    }

    fn copy_to(&mut self, end: usize) {
        self.sql += &self.text[self.at..end];
        self.at = end;
    }
}

/// Whether the `nth` character from the end is part of a word.
fn ends_with_word(text: &str, nth: usize) -> bool {
    let c = text.chars().rev().nth(nth - 1);
    c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$')
}

#[cfg(test)]
mod tests {
    use super::*;
    use Variable::{Address, ClientId, Username};

    fn parsed(text: &str) -> (String, Vec<Variable>) {
        let template = Template::parse(text).unwrap();
        (template.sql, template.variables)
    }

    #[test]
    fn the_tutorials_queries_are_read() {
        assert_eq!(
            parsed("select password from mqtt_user where username = '%u' limit 1"),
            (
                "select password from mqtt_user where username = $1 limit 1".into(),
                vec![Username]
            )
        );
        let (sql, variables) = parsed(
            "select allow, ipaddr, username, clientid, access, topic from mqtt_acl where \
             ipaddr = '%a' or username = '%u' or username = '$all' or clientid = '%c'",
        );
        assert!(
            sql.ends_with(
                "where ipaddr = $1 or username = $2 or username = '$all' or clientid = $3"
            )
        );
        assert_eq!(variables, [Address, Username, ClientId]);
    }

    #[test]
    fn a_variable_may_stand_more_than_once() {
        assert_eq!(
            parsed("select 1 where a='%u' or'%u'=b or c in ('%u','%c');").0,
            "select 1 where a=$1 or $2=b or c in ($3,$4)"
        );
    }

    #[test]
    fn what_only_looks_like_a_variable_stays() {
        for text in [
            "select '%u%' like 'a%u'",
            "select 'it''s %u', '''%u'''",
            "select E'\\'%u' || 'x'",
            "select \"'%u'\" from t",
            "select /* '%u' */ 1",
            "select $$'%u'$$, $t$ '%u' $t$",
            "select a$b % used, x %c.id",
            "select 5 % 3",
        ] {
            assert_eq!(parsed(text), (text.into(), vec![]), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, part) in [
            ("", "a query is wanted"),
            (" ; ", "a query is wanted"),
            (" ;\r\n;", "a query is wanted"),
            ("select 'x", "a quote is not closed"),
            ("select E'x\\'", "a quote is not closed"),
            ("select \"x", "double quotes is not closed"),
            ("select $1", "parameters are written"),
            ("select %u", "write '%u' with single quotes"),
            ("select %c)", "write '%c' with"),
            ("select 1 -- '%u'", "a comment would hide"),
            ("select /* x", "a comment is not closed"),
            ("select $a$ x", "dollar signs is not closed"),
        ] {
            let told = Template::parse(text).unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
    }
}
