//! Intents against naive references: what happened is a list of events, read again each time.

mod applications;
mod credentials;
mod device;
mod external;
mod sessions;
mod tokens;

use super::*;

fn id(text: &str) -> Id {
    Id::from(text)
}

#[test]
fn every_row_reads_as_it_was_written() {
    let audit = crate::issue::rows::Audit {
        number: 7,
        position: 1,
        at: UnixTime(5),
        act: "key.create".into(),
        actor: "operator".into(),
        subject: Some(id("usr_1")),
        application: None,
        credential: Some(id("key_1")),
        address: None,
        request: Some("r-1".into()),
    };
    assert_eq!(Row::of(audit.values()), Ok(audit.clone()));
    assert_eq!(audit.values().len(), crate::issue::rows::Audit::COLUMNS.len());
    let mut values = audit.values();
    values[2] = Value::Text("soon".into());
    let error = <crate::issue::rows::Audit as Row>::of(values).unwrap_err();
    assert_eq!((error.table, error.column), ("audit", "at"));
    for table in Table::ALL {
        assert_eq!(Table::named(table.name()), Some(table));
        let columns = table.columns();
        let names: std::collections::HashSet<_> = columns.iter().collect();
        assert_eq!(names.len(), columns.len(), "{}", table.name());
    }
}

#[test]
fn a_value_shows_nothing_of_a_digest_or_a_sealed_secret() {
    let digest = crate::issue::rows::SecretDigest::of_secret("gp_key_x");
    let shown =
        format!("{digest:?} {:?} {:?}", digest.to_value(), Value::Text("eyJhbGciOi".into()));
    assert_eq!(shown, "SecretDigest(..) 32 bytes text of 10 bytes");
}
