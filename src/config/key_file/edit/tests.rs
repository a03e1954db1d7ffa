use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::decide::api_key::Digest;
use crate::decide::principal::Claims;
use crate::decide::rate_limit::Quota;
use crate::decide::scope::ScopeSet;

fn entry(id: &str) -> KeyEntry {
    KeyEntry {
        id: id.into(),
        name: None,
        digest: Digest::sha256(id),
        subject: format!("key:{id}").into(),
        scopes: Arc::default(),
        claims: Claims::none(),
        not_before: None,
        expires: None,
        enabled: true,
        limits: Box::default(),
        replaces: None,
    }
}

fn keys(text: &str) -> Vec<SpannedKey> {
    parse_any_pepper(Path::new("f"), text.as_bytes()).unwrap_or_else(|it| panic!("{text}\n{it:?}"))
}

fn line_keys(text: &str) -> Vec<SpannedKey> {
    let keys = parse_any_pepper(Path::new("f.jsonl"), text.as_bytes());
    keys.unwrap_or_else(|it| panic!("{text}\n{it:?}"))
}

fn digest(id: &str) -> String {
    Digest::sha256(id).to_text()
}

/// `@a` is the digest of `a`, to keep the examples readable.
fn fill(text: &str) -> String {
    let mut text = text.to_owned();
    for id in ["a", "b", "c", "new"] {
        text = text.replace(&format!("@{id}"), &digest(id));
    }
    text
}

#[track_caller]
fn check(before: &str, edit: &Edit, after: &str) {
    let before = fill(before);
    let edited = apply(Format::Yaml, &before, &keys(&before), edit)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(edited, fill(after));
}

#[track_caller]
fn check_refused(before: &str, edit: &Edit) {
    let before = fill(before);
    assert!(apply(Format::Yaml, &before, &keys(&before), edit).is_err(), "{before}");
}

fn add() -> Edit {
    Edit::Add(Box::new(entry("new")))
}

const AT: UnixTime = UnixTime(1_800_000_000);

#[test]
fn contract_commands_a_key_is_added_behind_the_last_one() {
    check(
        "# top\nkeys:\n  - id: a   # first\n    digest: @a\n\n  # end\n",
        &add(),
        "# top\nkeys:\n  - id: a   # first\n    digest: @a\n  - id: new\n    digest: @new\n\n  # end\n",
    );
    check(
        "keys:\n- {id: a, digest: @a}",
        &add(),
        "keys:\n- {id: a, digest: @a}\n- id: new\n  digest: @new\n",
    );
    check(
        "---\nkeys:\n    -   id: a\n        digest: @a\n...\n",
        &add(),
        "---\nkeys:\n    -   id: a\n        digest: @a\n    - id: new\n      digest: @new\n...\n",
    );
    check(
        "keys:\n  -\n    # inside\n    id: a\n    digest: @a\n    claims:\n      text: |\n        two\n        # lines\n",
        &add(),
        "keys:\n  -\n    # inside\n    id: a\n    digest: @a\n    claims:\n      text: |\n        two\n        # lines\n  - id: new\n    digest: @new\n",
    );
}

#[test]
fn contract_commands_the_first_key_takes_the_place_of_the_empty_list() {
    let empty = empty_file(Format::Yaml);
    check(empty, &add(), &empty.replace(" []\n", "\n  - id: new\n    digest: @new\n"));
    check("keys: []", &add(), "keys:\n  - id: new\n    digest: @new\n");
    check(
        "\"keys\" :  [ ]  # none\n# end\n",
        &add(),
        "\"keys\" :  # none\n  - id: new\n    digest: @new\n# end\n",
    );
    check("\u{feff}keys: []\r\n", &add(), "\u{feff}keys:\r\n  - id: new\r\n    digest: @new\r\n");
}

#[test]
fn contract_commands_everything_an_entry_has_is_written() {
    let quota = |text| Quota::parse(text, None).unwrap();
    let claims = serde_json::json!({ "tenant": "a \"b\"", "n": [1, true, "1", "no", {"x": 1.5}] });
    let serde_json::Value::Object(claims) = claims else { unreachable!("an object") };
    let full = KeyEntry {
        name: Some("deploy: Zoë's # {key}".into()),
        digest: Digest::hmac_sha256("x", "p.1", b"pepper"),
        subject: "null".into(),
        scopes: Arc::new(ScopeSet::parse("read write:all a,b {x} true #1").unwrap()),
        claims: Arc::new(Claims::new(claims)),
        not_before: Some(UnixTime(5)),
        expires: Some(AT),
        enabled: false,
        limits: [("per-caller".into(), quota("7/m")), ("x y".into(), quota("100/s"))].into(),
        replaces: Some("1".into()),
        ..entry("true")
    };
    let edit = Edit::Add(Box::new(full.clone()));
    let edited = apply(Format::Yaml, "keys: []\n", &[], &edit).unwrap();
    assert_eq!(keys(&edited)[0].entry, full);
    let edited = apply(Format::JsonLines, "", &[], &edit).unwrap();
    assert_eq!(edited.lines().count(), 1);
    assert_eq!(line_keys(&edited)[0].entry, full);
}

#[test]
fn contract_commands_one_field_is_set_where_it_stands() {
    let off = &Edit::SetEnabled(0, false);
    check(
        "keys:\n- id: a\n  enabled:   true  # why\n  digest: @a\n",
        off,
        "keys:\n- id: a\n  enabled:   false  # why\n  digest: @a\n",
    );
    check(
        "keys:\n- enabled: true\n  id: a\n  digest: @a\n",
        off,
        "keys:\n- enabled: false\n  id: a\n  digest: @a\n",
    );
    check(
        "keys:\n- \"enabled\": true\r\n  id: a\n  digest: @a\n",
        off,
        "keys:\n- \"enabled\": false\r\n  id: a\n  digest: @a\n",
    );
    check(
        "keys: [{id: a, enabled: true, digest: @a}]\n",
        off,
        "keys: [{id: a, enabled: false, digest: @a}]\n",
    );
    check(
        "keys:\n- id: a\n  digest: @a\n  expires: '2029-01-01T00:00:00Z' # x\n",
        &Edit::SetExpires(0, AT),
        "keys:\n- id: a\n  digest: @a\n  expires: 2027-01-15T08:00:00Z # x\n",
    );
}

#[test]
fn contract_commands_a_field_that_is_not_there_is_added_to_its_entry() {
    let off = &Edit::SetEnabled(0, false);
    check(
        "keys:\n  - id: a\n    digest: @a\n    # about b\n  - id: b\n    digest: @b\n",
        off,
        "keys:\n  - id: a\n    digest: @a\n    enabled: false\n    # about b\n  - id: b\n    digest: @b\n",
    );
    check(
        "keys:\r\n- id: a\r\n  digest: @a\r\n  scopes:\r\n  - read",
        off,
        "keys:\r\n- id: a\r\n  digest: @a\r\n  scopes:\r\n  - read\r\n  enabled: false\r\n",
    );
    check(
        "keys:\n- { id: a, digest: @a } # x\n",
        off,
        "keys:\n- { id: a, digest: @a, enabled: false } # x\n",
    );
    check(
        "keys:\n- { id: a, digest: @a, } # x\n",
        off,
        "keys:\n- { id: a, digest: @a, enabled: false } # x\n",
    );
    check(
        "keys:\n- {\n    id: a, # }\n    digest: @a # x\n  }\n",
        off,
        "keys:\n- {\n    id: a, # }\n    digest: @a, enabled: false # x\n  }\n",
    );
    // A field of that name further inside is another field.
    check(
        "keys:\n- id: a\n  digest: @a\n  claims:\n    enabled: true\n",
        off,
        "keys:\n- id: a\n  digest: @a\n  claims:\n    enabled: true\n  enabled: false\n",
    );
    check(
        "keys:\n- { id: a, claims: {enabled: true}, digest: @a }\n",
        off,
        "keys:\n- { id: a, claims: {enabled: true}, digest: @a, enabled: false }\n",
    );
}

#[test]
fn contract_commands_a_removed_key_leaves_the_rest() {
    let before = "# top\nkeys:\n  # a\n  - id: a\n    # inside\n    digest: @a\n  # b\n\n  - { id: b, digest: @b }\n  # c\n  - id: c\n    digest: @c\n  # end\n";
    check(
        before,
        &Edit::Remove(0),
        "# top\nkeys:\n  # a\n  # b\n\n  - { id: b, digest: @b }\n  # c\n  - id: c\n    digest: @c\n  # end\n",
    );
    check(
        before,
        &Edit::Remove(1),
        "# top\nkeys:\n  # a\n  - id: a\n    # inside\n    digest: @a\n  # b\n\n  # c\n  - id: c\n    digest: @c\n  # end\n",
    );
    check(
        before,
        &Edit::Remove(2),
        "# top\nkeys:\n  # a\n  - id: a\n    # inside\n    digest: @a\n  # b\n\n  - { id: b, digest: @b }\n  # c\n  # end\n",
    );
    check(
        "keys: # all\n# x\n- id: a\n  digest: @a\n# y\n",
        &Edit::Remove(0),
        "keys: [] # all\n# x\n# y\n",
    );
}

#[test]
fn contract_commands_what_cannot_be_edited_safely_is_left_alone() {
    for flow in ["keys: [{ id: a, digest: @a }]\n", "{ keys: [ { id: a, digest: @a } ] }\n"] {
        check_refused(flow, &add());
        check_refused(flow, &Edit::Remove(0));
    }
    check_refused("keys: [\n]\n", &add());
    check_refused("{keys: []}\n", &add());
    check_refused("? keys\n: []\n", &add());
    check_refused(
        "keys:\n- id: a\n  digest: @a\n  enabled:\n    true\n",
        &Edit::SetEnabled(0, false),
    );
    check_refused(
        "keys:\n- id: a\n  digest: @a\n  claims:\n    text: |+\n      x\n\n\n- id: b\n  digest: @b\n",
        &Edit::SetEnabled(0, false),
    );
}

#[test]
fn an_edit_that_would_change_something_else_is_no_edit() {
    let before = fill("keys:\n- id: a\n  digest: @a\n- id: b\n  digest: @b\n");
    let spanned = keys(&before);
    // Adding an id that is there already, or changing an entry that has been moved.
    assert_eq!(
        apply(Format::Yaml, &before, &spanned, &Edit::Add(Box::new(entry("b")))),
        Err(EditError::Verification)
    );
    let mut moved = spanned.clone();
    moved.swap(0, 1);
    assert!(apply(Format::Yaml, &before, &moved, &Edit::SetEnabled(0, false)).is_err());
    assert!(apply(Format::Yaml, &before, &[], &add()).is_err());
}

#[track_caller]
fn check_lines(before: &str, edit: &Edit, after: &str) {
    let before = fill(before);
    let edited = apply(Format::JsonLines, &before, &line_keys(&before), edit);
    assert_eq!(edited.unwrap_or_else(|error| panic!("{error}")), fill(after));
}

#[test]
fn contract_commands_in_a_file_of_lines_one_line_changes() {
    let (a, b) = (r#"{"id":"a","digest":"@a"}"#, r#" {"digest" : "@b","id":"b","x":1} "#);
    let b = &b.replace(r#","x":1"#, "");
    let new = r#"{"id":"new","digest":"@new"}"#;
    for end in ["\n", "\r\n"] {
        let text = format!("# top{end}{a}{end}{end}{b}{end}# end{end}");
        check_lines(&text, &add(), &format!("{text}{new}{end}"));
        let off = r#"{"id":"b","digest":"@b","enabled":false}"#;
        check_lines(&text, &Edit::SetEnabled(1, false), &text.replace(b.as_str(), off));
        let until = r#"{"id":"a","digest":"@a","expires":"2027-01-15T08:00:00Z"}"#;
        check_lines(&text, &Edit::SetExpires(0, AT), &text.replace(a, until));
        check_lines(&text, &Edit::Remove(0), &text.replace(&format!("{a}{end}"), ""));
        check_lines(&text, &Edit::Remove(1), &text.replace(&format!("{b}{end}"), ""));
        // The last line has no end.
        let open = &text[..text.find("# end").unwrap() - end.len()];
        check_lines(open, &add(), &format!("{open}{end}{new}{end}"));
        check_lines(open, &Edit::SetEnabled(1, false), &open.replace(b.as_str(), off));
        check_lines(open, &Edit::Remove(1), &open.replace(b.as_str(), ""));
    }
    check_lines(&format!("\u{feff}{a}\n"), &Edit::SetEnabled(0, true), &format!("\u{feff}{a}\n"));
    check_lines(&format!("\u{feff}{a}\n"), &Edit::Remove(0), "\u{feff}");
    check_lines("", &add(), &format!("{new}\n"));
    let empty = empty_file(Format::JsonLines);
    check_lines(empty, &add(), &format!("{empty}{new}\n"));
}

/// The form of one entry.
fn any_entry(index: usize) -> impl Strategy<Value = String> {
    let fields = prop::collection::vec(
        prop_oneof![
            Just("name: \"a # }\\\" b\""),
            Just("name: it's # not 'quoted"),
            Just("name: >-\n      folded\n      # text"),
            Just("scopes:\n    - read\n    - write"),
            Just("scopes: [read, 'a,b']"),
            Just("claims: { enabled: true, expires: [x, {y: z}] }"),
            Just("enabled: true"),
            Just("enabled:   true   # why"),
            Just("expires: \"2031-01-01T00:00:00Z\"   # end"),
            Just("# enabled: true"),
            Just(""),
        ],
        0..5,
    );
    let comment =
        prop_oneof![Just(""), Just("  # comment\n"), Just("\n"), Just("# at the side\n\n")];
    (fields, comment, 0_usize..3).prop_map(move |(mut fields, comment, form)| {
        let mut seen = Vec::new();
        fields.retain(|field| {
            let name = field.split(':').next().unwrap_or("").to_owned();
            let new = field.is_empty() || field.starts_with('#') || !seen.contains(&name);
            seen.push(name);
            new
        });
        let id = format!("k{index}");
        let digest = digest(&id);
        if form == 0 {
            fields
                .retain(|field| !field.contains('\n') && !field.contains('#') && !field.is_empty());
            let rest: String = fields.iter().map(|field| format!(", {field}")).collect();
            return format!("{comment}  - {{ id: {id}, digest: '{digest}'{rest} }}  # flow\n");
        }
        let rest: String = fields.iter().map(|field| format!("    {field}\n")).collect();
        let dash = if form == 1 { "  - " } else { "  -   # alone\n    " };
        format!("{comment}{dash}id: {id}\n    digest: {digest}\n{rest}")
    })
}

fn any_file() -> impl Strategy<Value = String> {
    let entries = (0..6_usize).prop_flat_map(|count| (0..count).map(any_entry).collect::<Vec<_>>());
    (entries, prop_oneof![Just(""), Just("# end"), Just("\n# end\n")], any::<bool>()).prop_map(
        |(entries, end, windows)| {
            let keys = if entries.is_empty() { "keys: [] # none\n" } else { "keys: # all\n" };
            let text = format!("# top\n{keys}{}{end}", entries.concat());
            if windows { text.replace('\n', "\r\n") } else { text }
        },
    )
}

fn any_lines() -> impl Strategy<Value = String> {
    let line = |index: usize| {
        let id = format!("k{index}");
        let digest = digest(&id);
        prop_oneof![
            Just(format!("{{\"id\":\"{id}\",\"digest\":\"{digest}\"}}")),
            Just(format!("  {{ \"digest\": \"{digest}\", \"enabled\": true, \"id\": \"{id}\" }} ")),
            Just(format!(
                "# why\n\n{{\"id\":\"\\u006b{index}\",\"digest\":\"{digest}\",\"name\":\"#\"}}"
            )),
        ]
    };
    let lines = (0..6_usize).prop_flat_map(move |count| (0..count).map(line).collect::<Vec<_>>());
    (lines, prop_oneof![Just(""), Just("\n"), Just("\n# end\n")], any::<bool>()).prop_map(
        |(lines, end, windows)| {
            let text = format!("# top\n{}{end}", lines.join("\n"));
            if windows { text.replace('\n', "\r\n") } else { text }
        },
    )
}

fn any_edit(count: usize) -> BoxedStrategy<Edit> {
    if count == 0 {
        return Just(add()).boxed();
    }
    prop_oneof![
        Just(add()),
        (0..count, any::<bool>()).prop_map(|(index, on)| Edit::SetEnabled(index, on)),
        (0..count).prop_map(|index| Edit::SetExpires(index, AT)),
        (0..count).prop_map(Edit::Remove),
    ]
    .boxed()
}

/// The lines of `short` in order within `long`, and how many of `long` are left over.
fn left_over(long: &str, short: &str) -> Option<usize> {
    let mut long_lines = long.split_inclusive('\n');
    let mut left = 0;
    for line in short.split_inclusive('\n') {
        left += long_lines.by_ref().position(|have| have == line)?;
    }
    Some(left + long_lines.count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn contract_commands_untouched_lines_stay_byte_for_byte(
        (text, edit) in any_file().prop_flat_map(|text| {
            let count = keys(&text).len();
            (Just(text), any_edit(count))
        })
    ) {
        let spanned = keys(&text);
        // The generator only makes files that can be edited.
        let edited = apply(Format::Yaml, &text, &spanned, &edit).unwrap();
        // A last line without an end may get one.
        let text = if edited.ends_with('\n') && !text.ends_with('\n') {
            format!("{text}{}", if text.contains('\r') { "\r\n" } else { "\n" })
        } else {
            text
        };
        prop_assert_eq!(edited.contains('\r'), text.contains('\r'));
        let foreign = if text.contains('\r') { '\n' } else { '\r' };
        prop_assert!(!edited.replace("\r\n", "").contains(foreign));
        match edit {
            Edit::Add(_) if spanned.is_empty() => prop_assert!(edited.contains("keys: # none")),
            Edit::Add(_) => prop_assert_eq!(left_over(&edited, &text), Some(2)),
            Edit::Remove(_) if spanned.len() == 1 => prop_assert!(edited.contains("keys: [] # all")),
            Edit::Remove(_) => prop_assert!(left_over(&text, &edited).is_some()),
            Edit::SetEnabled(..) | Edit::SetExpires(..) => {
                let lines = |text: &str| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
                let (before, after) = (lines(&text), lines(&edited));
                if before.len() == after.len() {
                    let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
                    prop_assert!(changed <= 1);
                } else {
                    prop_assert_eq!(left_over(&edited, &text), Some(1));
                }
            }
        }
    }

    /// Every other line, its comments, blanks and order of fields stay unchanged.
    #[test]
    fn contract_commands_an_edit_of_json_lines_touches_one_line(
        (text, edit) in any_lines().prop_flat_map(|text| {
            let count = line_keys(&text).len();
            (Just(text), any_edit(count))
        })
    ) {
        let spanned = line_keys(&text);
        let edited = apply(Format::JsonLines, &text, &spanned, &edit).unwrap();
        let (before, after): (Vec<_>, Vec<_>) = (text.lines().collect(), edited.lines().collect());
        match edit {
            Edit::Add(_) => prop_assert_eq!(&after[..after.len() - 1], &before[..]),
            Edit::Remove(at) => {
                let mut left = before.clone();
                left.remove(usize::try_from(spanned[at].line).unwrap() - 1);
                prop_assert_eq!(after, left);
            }
            Edit::SetEnabled(at, _) | Edit::SetExpires(at, _) => {
                let line = usize::try_from(spanned[at].line).unwrap() - 1;
                prop_assert_eq!(before.len(), after.len());
                let differs = |at: &usize| before[*at] != after[*at];
                prop_assert!((0..before.len()).filter(differs).all(|at| at == line));
            }
        }
    }

    #[test]
    fn no_name_breaks_the_file(name in "[^\\p{Cc}]{1,40}", subject in "[ -~]{1,40}") {
        prop_assume!(!name.contains("${") && !subject.contains("${"));
        let new = KeyEntry { name: Some(name.into()), subject: subject.into(), ..entry("new") };
        let edit = Edit::Add(Box::new(new.clone()));
        let edited = apply(Format::Yaml, "keys: []\n", &[], &edit).unwrap();
        prop_assert_eq!(&keys(&edited)[0].entry, &new);
        let edited = apply(Format::JsonLines, "", &[], &edit).unwrap();
        prop_assert_eq!(&line_keys(&edited)[0].entry, &new);
    }
}
