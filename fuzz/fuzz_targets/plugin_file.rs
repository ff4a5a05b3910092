//! Plug-in files and the queries in them: whatever a file holds, it is read or refused, and a query
//! has just the parameters that are bound to it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringmq::identity::pgsql::Template;
use ringmq::identity::plugin::{Name, file};

fuzz_target!(|input: &str| {
    let mut last = 0;
    for entry in file::entries(input) {
        let line = match entry {
            Ok(entry) => {
                assert!(!entry.key.is_empty() && entry.key == entry.key.trim());
                assert!(entry.value == entry.value.trim());
                check_query(entry.value);
                entry.line
            }
            Err((line, _)) => line,
        };
        assert!(line > last, "lines come in order");
        last = line;
    }
    check_query(input);
    if let Ok(name) = Name::parse(input) {
        assert_eq!(Name::parse(&name.to_string()), Ok(name));
    }
});

fn check_query(text: &str) {
    let Ok(template) = Template::parse(text) else {
        return;
    };
    let count = template.variables().len();
    for number in 1..=count {
        let parameter = format!("${number}");
        assert!(template.sql().contains(&parameter), "{parameter}");
    }
    // What is a parameter now would be one of the text's own.
    assert_eq!(Template::parse(template.sql()).is_err(), count > 0);
}
