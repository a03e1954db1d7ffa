//! How many instructions and heap allocations one decision takes, and whether that has risen.
//!
//! Time on a shared machine says little about a change; these counts repeat. Each case runs under
//! valgrind twice, with few and with many rounds, so that everything but the rounds cancels out:
//! callgrind counts instructions, DHAT allocations. What is left is the seeds of the hash tables:
//! of some runs the least counts. The counts are compared with those of the same kind of processor
//! in `benches/instructions.txt`: a rise over 3 % fails, and so does any more allocation. Cases of
//! one run are compared with each other, on every kind of processor: the aims are at most 3 % more
//! with an issuer than without, and at most 15 % more with revocations of every kind than with none.
//! A miss is printed; with an issuer, 15 points more than the aim fail. Two builds that differed in
//! one line elsewhere moved a pair by 5 points. GATEPOST_REVOKED is the number of revocations.
//!
//! `cargo bench --no-default-features --bench instructions` (the allocator is the system's: DHAT
//! sees no other); `-- --write` writes the counts of now into the file.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]

#[path = "support/gate.rs"]
mod gate;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::{Command, ExitCode};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
const ROUNDS: [u64; 2] = [100, 1100];
const RISE_MAX: f64 = 1.03;
/// Cases that are compared with each other: of the first state, of the second, the most, whether
/// more fails.
const PAIRS: [(&str, &str, f64, bool); 2] =
    [("issuer/", "admitted/", RISE_MAX, true), ("revoked/", "issuer/", 1.15, false)];
/// Two runs of the same code differ by up to this much.
const PAIR_MARGIN: f64 = 0.01;
/// More than builds of the same decision differ by: a look-up that was not there before.
const PAIR_FAILS: f64 = 0.15;
/// Runs of which the least counts.
const RUNS: usize = 3;

/// Instructions and allocations of one decision.
type Counts = BTreeMap<String, (f64, f64)>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["run", case, rounds] => run(case, rounds.parse().unwrap()),
        // As criterion's own: whether it runs, not what comes out.
        [.., "--test"] | ["--test", ..] => gate::names().for_each(|case| run(case, 1)),
        [.., "--write"] | ["--write", ..] => std::fs::write(BASELINE, text(&count())).unwrap(),
        _ => return compare(&count()),
    }
    ExitCode::SUCCESS
}

fn run(name: &str, rounds: u64) {
    let mut case = gate::case(name);
    for _ in 0..rounds {
        black_box(black_box(&mut case).decide());
    }
}

fn count() -> Counts {
    let only = std::env::var("GATEPOST_CASES").unwrap_or_default();
    let count = |case: &str| {
        let per_round = |tool, marker| {
            let [few, many] = ROUNDS.map(|rounds| measure(tool, marker, case, rounds));
            (many - few) / (ROUNDS[1] - ROUNDS[0]) as f64
        };
        let instructions = (0..RUNS).map(|_| per_round("callgrind", "Collected : "));
        let least = instructions.fold(f64::INFINITY, f64::min);
        (case.to_owned(), (least, per_round("dhat", "bytes in ")))
    };
    gate::names().filter(|case| case.contains(&only)).map(count).collect()
}

/// The number behind `marker` in what valgrind says of one run.
fn measure(tool: &str, marker: &str, case: &str, rounds: u64) -> f64 {
    let mut command = Command::new("valgrind");
    command.arg(format!("--tool={tool}")).arg(format!("--{tool}-out-file=/dev/null"));
    command.arg(std::env::current_exe().unwrap()).args(["run", case, &rounds.to_string()]);
    let output = command.output().expect("valgrind is installed: sudo apt-get install valgrind");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let from = said.find(marker).unwrap_or_else(|| panic!("no {marker:?} in {said}"));
    let digits =
        said[from + marker.len()..].chars().take_while(|c| c.is_ascii_digit() || *c == ',');
    digits.filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// The file with these counts in the place of those of this kind of processor.
fn text(counts: &Counts) -> String {
    let mut text = "# Of one decision: instructions and heap allocations, by `make instructions WRITE=1`, for each\n\
                    # kind of processor that it was run on.\n"
        .to_owned();
    let (own, mut known) = (processor(), baselines());
    known.entry(own).or_default().extend(counts.clone());
    for (processor, counts) in known {
        writeln!(text, "# processor: {processor}").unwrap();
        for (case, (instructions, allocations)) in counts {
            writeln!(text, "{case} {instructions:.0} {allocations:.2}").unwrap();
        }
    }
    text
}

/// The counts of the file, by kind of processor.
fn baselines() -> BTreeMap<String, Counts> {
    let text = std::fs::read_to_string(BASELINE).unwrap_or_default();
    let mut known: BTreeMap<String, Counts> = BTreeMap::new();
    for section in text.split("# processor: ").skip(1) {
        let (processor, lines) = section.split_once('\n').unwrap_or((section, ""));
        known.insert(processor.to_owned(), lines.lines().filter_map(line).collect());
    }
    known
}

fn line(line: &str) -> Option<(String, (f64, f64))> {
    let mut words = line.split(' ');
    let case = words.next()?.to_owned();
    Some((case, (words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
}

/// What cryptography and copying choose their code by: counts of another kind are of other code.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let flags = value("flags").unwrap_or_default();
    let has = |flag: &&str| flags.split(' ').any(|one| one == *flag);
    let flags: Vec<_> = ["avx2", "bmi2", "erms"].into_iter().filter(has).collect();
    format!("{} {}", value("vendor_id").unwrap_or_default(), flags.join(" "))
}

fn compare(counts: &Counts) -> ExitCode {
    let mut known = baselines();
    let own = known.remove(&processor());
    let is_same_kind = own.is_some();
    let known = own.or_else(|| known.into_values().next()).unwrap_or_default();
    let mut has_risen = false;
    println!("{:<36} {:>12} {:>9} {:>12}", "case", "instructions", "known", "allocations");
    for (case, (instructions, allocations)) in counts {
        let (before, held) = known.get(case).copied().unwrap_or((f64::INFINITY, f64::INFINITY));
        let rise = instructions / before;
        let is_worse = rise > RISE_MAX || *allocations > held + 0.5;
        let mark = if is_worse { "  <- more than before" } else { "" };
        println!(
            "{case:<36} {instructions:>12.0} {:>8.1}% {allocations:>12.2}{mark}",
            100.0 * rise
        );
        has_risen |= is_worse;
    }
    let misses = compare_pairs(counts);
    if misses > 0 {
        eprintln!("{misses} cases take far more than the same case in another state");
    }
    if has_risen && !is_same_kind {
        eprintln!("counted on another kind of processor than benches/instructions.txt: no verdict");
    } else if has_risen {
        eprintln!(
            "a decision takes more than benches/instructions.txt says: find out why, or `make instructions WRITE=1` and say in the commit what it buys"
        );
    }
    ExitCode::from(u8::from((has_risen && is_same_kind) || misses > 0))
}

/// Prints the cases that differ in their state alone; returns how many miss theirs by so much that it fails.
fn compare_pairs(counts: &Counts) -> usize {
    let mut misses = 0;
    for (state, before, most, fails) in PAIRS {
        for (case, (instructions, _)) in counts {
            let name = case.strip_prefix(state).map(|name| format!("{before}{name}"));
            let Some((other, _)) = name.as_ref().and_then(|name| counts.get(name)) else {
                continue;
            };
            let rise = instructions / other;
            let is_miss = rise > most + PAIR_MARGIN;
            let mark = if is_miss { "  <- misses the aim" } else { "" };
            misses += usize::from(fails && rise > most + PAIR_FAILS);
            let beside = name.unwrap_or_default();
            println!(
                "{case:<36} {:>11.1}% of {beside}, at most {:.0}%{mark}",
                100.0 * rise,
                100.0 * most
            );
        }
    }
    misses
}
