//! The counts with their labels, and that nothing else can become a label.

use std::collections::BTreeSet;

use super::*;
use crate::base::clock::UnixMillis;
use crate::decide::rejection::{Fault, Reason};
use crate::serve::fixture::{self, MemoryDisk};
use crate::serve::observe::report::{RefreshResult, Standing};

fn report(mistakes: usize) -> ReloadReport {
    let mistake = crate::config::Mistake {
        file: "x".into(),
        line: 1,
        column: 1,
        path: String::new(),
        message: "wrong".to_owned(),
    };
    ReloadReport {
        time: UnixMillis(1_800_000_000_000),
        generation: 1,
        published: true,
        mistakes: vec![mistake; mistakes],
        restart_needed: Vec::new(),
    }
}

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.text()).unwrap()
}

/// The value of a series as it is written.
fn value(metrics: &Metrics, series: &str) -> Option<String> {
    let text = text(metrics);
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(str::to_owned)
}

#[track_caller]
fn check(metrics: &Metrics, series: &str, expected: &str) {
    assert_eq!(value(metrics, series).as_deref(), Some(expected), "{series}\n{}", text(metrics));
}

#[test]
fn contract_metrics_a_request_is_counted_under_its_route_outcome_and_code() {
    let opened = fixture::open(&MemoryDisk::filled());
    let metrics = Metrics::new();
    metrics.publish(&opened.snapshot);
    let key = [("x-api-key", fixture::KEY)];
    for (path, fields) in [
        ("/open/a", &[][..]),
        ("/api/a", &key),
        ("/api/a", &[]),
        ("/tight", &key),
        ("/tight", &key),
        ("/nowhere", &[]),
    ] {
        let decision = fixture::decide(&opened.snapshot, path, fields);
        metrics.record(&fixture::record(&decision, path));
    }
    let requests = "gatepost_requests_total";
    check(&metrics, &format!(r#"{requests}{{code="200",outcome="admitted",route="open"}}"#), "1");
    check(&metrics, &format!(r#"{requests}{{code="200",outcome="admitted",route="api"}}"#), "1");
    check(&metrics, &format!(r#"{requests}{{code="403",outcome="refused",route="api"}}"#), "1");
    check(&metrics, &format!(r#"{requests}{{code="403",outcome="refused",route="none"}}"#), "1");
    let rejections = "gatepost_rejections_total";
    check(&metrics, &format!(r#"{rejections}{{reason="credential_missing",route="api"}}"#), "1");
    check(&metrics, &format!(r#"{rejections}{{reason="rate_limited",route="tight"}}"#), "1");
    check(&metrics, &format!(r#"{rejections}{{reason="route_unknown",route="none"}}"#), "1");
    let decisions = "gatepost_rate_limit_decisions_total";
    check(&metrics, &format!(r#"{decisions}{{limit="tight",result="allowed"}}"#), "1");
    check(&metrics, &format!(r#"{decisions}{{limit="tight",result="refused"}}"#), "1");
    check(&metrics, r#"gatepost_request_duration_seconds_count{route="api"}"#, "2");
    check(&metrics, r#"gatepost_request_duration_seconds_sum{route="open"}"#, "0.0015");
    check(&metrics, r#"gatepost_auth_duration_seconds_count{credential="api_key"}"#, "3");
    check(&metrics, r#"gatepost_auth_duration_seconds_count{credential="anonymous"}"#, "3");
    check(&metrics, "gatepost_config_generation", "1");
}

#[test]
fn contract_metrics_a_fault_is_counted_for_its_upstream() {
    let opened = fixture::open(&MemoryDisk::filled());
    let metrics = Metrics::new();
    metrics.publish(&opened.snapshot);
    let decision = fixture::decide(&opened.snapshot, "/open/a", &[]);
    for fault in Fault::ALL {
        let outcome = Outcome::Fault(*fault);
        metrics.record(&Record { outcome, status: 0, ..fixture::record(&decision, "/open/a") });
        let kind = fault.as_str();
        let series = format!(r#"gatepost_upstream_failures_total{{kind="{kind}",upstream="app"}}"#);
        check(&metrics, &series, "1");
    }
    let series = r#"gatepost_requests_total{code="none",outcome="fault",route="open"}"#;
    check(&metrics, series, &Fault::ALL.len().to_string());
}

#[test]
fn r904_a_removed_route_loses_its_series_and_late_requests_count_as_removed() {
    let disk = MemoryDisk::filled();
    let opened = fixture::open(&disk);
    let metrics = Metrics::new();
    metrics.publish(&opened.snapshot);
    let late = fixture::decide(&opened.snapshot, "/open/a", &[]);
    metrics.record(&fixture::record(&late, "/open/a"));
    metrics.record(&fixture::record(&fixture::decide(&opened.snapshot, "/api/a", &[]), "/api/a"));
    disk.write("gatepost.yaml", &fixture::CONFIG.replace("name: open", "name: renamed"));
    metrics.publish(&fixture::open(&disk).snapshot);
    assert!(!text(&metrics).contains(r#"route="open""#));
    metrics.record(&fixture::record(&late, "/open/a"));
    assert!(!text(&metrics).contains(r#"route="open""#));
    let series = r#"gatepost_requests_total{code="200",outcome="admitted",route="removed"}"#;
    check(&metrics, series, "1");
    let series = r#"gatepost_requests_total{code="403",outcome="refused",route="api"}"#;
    check(&metrics, series, "1");
    metrics.record(&fixture::record(&fixture::decide(&opened.snapshot, "/api/a", &[]), "/api/a"));
    check(&metrics, series, "2");
}

#[test]
fn r904_no_request_can_make_a_series() {
    let opened = fixture::open(&MemoryDisk::filled());
    let metrics = Metrics::new();
    metrics.publish(&opened.snapshot);
    let count = |number: u16| {
        for path in ["/open/a", "/api/a", "/nowhere", "/a%2Fb"] {
            let path = format!("{path}{number}");
            let fields = [("x-api-key", &*format!("key-{number}-{number}-0123456789abcdef"))];
            let decision = fixture::decide(&opened.snapshot, &path, &fields);
            let host = format!("h{number}.example");
            let method = format!("M{number}");
            let record = fixture::record(&decision, &path);
            metrics.record(&Record { host: &host, method: &method, status: number, ..record });
        }
    };
    (0..1000).for_each(count);
    let before = text(&metrics).lines().count();
    (1000..3000).for_each(count);
    assert_eq!(text(&metrics).lines().count(), before);
    assert!(!text(&metrics).contains("example") && !text(&metrics).contains("key-"));
}

#[test]
fn contract_metrics_a_reload_leaves_its_result() {
    let metrics = Metrics::new();
    check(&metrics, r#"gatepost_config_reloads_total{result="failure"}"#, "0");
    let good = report(0);
    metrics.reloaded(&good);
    metrics.standing(&good);
    check(&metrics, "gatepost_config_last_reload_successful", "1");
    check(&metrics, "gatepost_config_last_reload_success_timestamp_seconds", "1800000000");
    let bad = ReloadReport {
        time: UnixMillis(1_900_000_000_000),
        restart_needed: vec!["threads"],
        ..report(1)
    };
    metrics.reloaded(&bad);
    metrics.standing(&bad);
    check(&metrics, "gatepost_config_last_reload_successful", "0");
    check(&metrics, "gatepost_config_last_reload_success_timestamp_seconds", "1800000000");
    check(&metrics, "gatepost_restart_needed", "1");
    check(&metrics, r#"gatepost_config_reloads_total{result="success"}"#, "1");
    check(&metrics, r#"gatepost_config_reloads_total{result="failure"}"#, "1");
}

#[test]
fn contract_metrics_keys_are_counted_by_state_when_asked() {
    let opened = fixture::open(&MemoryDisk::filled());
    let metrics = Metrics::new();
    let text = metrics.render(&opened.snapshot, fixture::NOW.unix);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("gatepost_api_keys{state=\"active\"} 1\n"), "{text}");
    assert!(text.contains("gatepost_api_keys{state=\"expired\"} 0\n"), "{text}");
    assert!(text.contains("gatepost_build_info{version=\""), "{text}");
}

/// The registry hashes label values one after the other: if one constant were the beginning of
/// another, a route could be named so that two series become one.
#[test]
fn r904_no_label_word_is_the_beginning_of_another() {
    let codes: Vec<_> = (0..code::COUNT).map(code::label).collect();
    let outcomes = Outcome::WORDS.iter();
    let pairs: Vec<_> =
        outcomes.flat_map(|word| codes.iter().map(move |code| format!("{word}{code}"))).collect();
    let reasons: Vec<_> = Reason::ALL.iter().map(|one| one.as_str().to_owned()).collect();
    let kinds: Vec<_> = Fault::ALL.iter().map(|one| one.as_str().to_owned()).collect();
    for words in [pairs, reasons, kinds] {
        let words: BTreeSet<_> = words.into_iter().collect();
        for (one, next) in words.iter().zip(words.iter().skip(1)) {
            assert!(!next.starts_with(one.as_str()), "{one} {next}");
        }
    }
}

#[test]
fn each_reason_and_fault_has_its_own_cell() {
    for (index, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, index);
    }
    for (index, fault) in Fault::ALL.iter().enumerate() {
        assert_eq!(fault.index(), index);
    }
}

/// The rules of `promtool check metrics`, as far as they can be broken here.
#[test]
fn contract_metrics_names_and_help_follow_the_conventions() {
    let opened = fixture::open(&MemoryDisk::filled());
    let metrics = Metrics::new();
    metrics.publish(&opened.snapshot);
    let decision = fixture::decide(&opened.snapshot, "/tight", &[("x-api-key", fixture::KEY)]);
    metrics.record(&fixture::record(&decision, "/tight"));
    let refused = fixture::decide(&opened.snapshot, "/api/a", &[]);
    metrics.record(&fixture::record(&refused, "/api/a"));
    let fault = Outcome::Fault(Fault::Internal);
    metrics.record(&Record { outcome: fault, ..fixture::record(&decision, "/tight") });
    let _ = metrics.render(&opened.snapshot, fixture::NOW.unix);
    let _ = metrics.connections();
    let keys = opened.snapshot.dynamic.issuers[0].settings.name.clone();
    metrics.expect_key_server(&keys);
    metrics.expect_introspection(Arc::clone(&keys));
    metrics.key_server_stands(&keys, &had_keys(), UnixMillis(61_000));
    let text = text(&metrics);
    let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(types.len(), 29, "every family is there: {types:?}");
    for line in types {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        assert!(name.starts_with("gatepost_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert_eq!(kind == "histogram", name.ends_with("_duration_seconds"), "{name} is a {kind}");
        for suffix in ["_count", "_sum", "_bucket", "_ms", "_milliseconds", "_counter", "_gauge"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
    }
}

/// Keys that were fetched a second after the epoch.
fn had_keys() -> Standing {
    let skipped = vec!["keys[0] is unfit".to_owned()];
    Standing { fetched: Some(UnixMillis(1_000)), keys: 2, skipped, ..Standing::default() }
}

#[test]
fn contract_metrics_a_key_server_has_series_from_the_start_to_the_end() {
    let metrics = Metrics::new();
    let has = |line: &str| text(&metrics).lines().any(|one| one == line);
    metrics.expect_key_server("corp");
    let failures = "gatepost_jwks_refreshes_total{issuer=\"corp\",result=\"failure\"}";
    assert!(has(&format!("{failures} 0")));
    metrics.refreshed("corp", RefreshResult::Failure);
    assert!(has(&format!("{failures} 1")));
    metrics.key_server_stands("corp", &had_keys(), UnixMillis(61_999));
    assert!(has("gatepost_jwks_age_seconds{issuer=\"corp\"} 60"));
    assert!(has("gatepost_jwks_keys{issuer=\"corp\",state=\"used\"} 2"));
    assert!(has("gatepost_jwks_keys{issuer=\"corp\",state=\"skipped\"} 1"));
    metrics.key_server_stands("corp", &Standing::default(), UnixMillis(61_999));
    assert!(!text(&metrics).contains("gatepost_jwks_age_seconds{"), "no keys, no age");
    metrics.forget_key_server("corp");
    assert!(!text(&metrics).contains("corp"));
}
