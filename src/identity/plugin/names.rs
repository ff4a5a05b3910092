//! What a plug-in is called: emqttd's names, and those of its successors.

use std::fmt;

/// The plug-ins that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Http,
    Jwt,
    Pgsql,
}

/// A plug-in by the name that its user gave it: `emq_auth_pgsql`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    kind: Kind,
    prefix: &'static str,
}

/// Spellings of what stands before `auth_pgsql`, the usual one first.
const PREFIXES: [&str; 3] = ["emq_", "emqx_", ""];

impl Kind {
    pub const ALL: [Self; 3] = [Self::Http, Self::Jwt, Self::Pgsql];

    /// The name of its source in `auth.chain`.
    pub fn source(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Jwt => "jwt",
            Self::Pgsql => "postgres",
        }
    }

    /// The word for it in the names of plug-ins and their files.
    fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Jwt => "jwt",
            Self::Pgsql => "pgsql",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Self::Http => "Authentication and access rules from an HTTP service",
            Self::Jwt => "Authentication and access rules from JSON Web Tokens",
            Self::Pgsql => "Authentication and access rules from PostgreSQL",
        }
    }

    /// The names that its file may have.
    pub fn files(self) -> impl Iterator<Item = String> {
        let word = self.word();
        ["", "emq_", "emqx_"]
            .into_iter()
            .map(move |prefix| format!("{prefix}auth_{word}.conf"))
    }
}

impl Name {
    /// Its usual name.
    pub fn of(kind: Kind) -> Self {
        let prefix = PREFIXES[0];
        Self { kind, prefix }
    }

    /// With `-` or `_` between the words.
    ///
    /// # Errors
    /// There is no such plug-in; the nearest.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = text.replace('-', "_");
        let names = Kind::ALL
            .into_iter()
            .flat_map(|kind| PREFIXES.map(|prefix| Self { kind, prefix }));
        let mut names: Vec<Self> = names.collect();
        if let Some(at) = names.iter().position(|name| name.to_string() == wanted) {
            return Ok(names.swap_remove(at));
        }
        let known: Vec<String> = names.iter().map(ToString::to_string).collect();
        let nearest = crate::config::nearest::nearest(&wanted, known.iter().map(String::as_str));
        Err(format!(
            "there is no plug-in `{text}`; the nearest is `{nearest}`"
        ))
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}auth_{}", self.prefix, self.kind.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_known() {
        for (text, name) in [
            ("emq_auth_pgsql", "emq_auth_pgsql"),
            ("emqx_auth_pgsql", "emqx_auth_pgsql"),
            ("emqx-auth-pgsql", "emqx_auth_pgsql"),
            ("auth_pgsql", "auth_pgsql"),
            ("emq_auth_jwt", "emq_auth_jwt"),
        ] {
            assert_eq!(Name::parse(text).unwrap().to_string(), name);
        }
        let told = Name::parse("emq_auth_pgsq").unwrap_err();
        assert!(told.ends_with("the nearest is `emq_auth_pgsql`"), "{told}");
        assert_eq!(Name::of(Kind::Http).to_string(), "emq_auth_http");
        let files: Vec<String> = Kind::Pgsql.files().collect();
        assert_eq!(
            files,
            [
                "auth_pgsql.conf",
                "emq_auth_pgsql.conf",
                "emqx_auth_pgsql.conf"
            ]
        );
    }
}
