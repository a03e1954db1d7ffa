//! Latency at a fixed rate: requests leave on a timetable, whether or not the last one came back.
//!
//! Owns the timetable and the clock of `make bench-peers`: each connection has its own departures,
//! and a request is late from the moment it should have left, so that a stall is counted for every
//! request it held up. Prints one line of JSON. Reads answers only as far as it must: a status
//! line and a Content-Length.

#![forbid(unsafe_code)]
#![expect(clippy::disallowed_methods, reason = "it measures time, and keeps to a timetable")]

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The longest an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);

struct Plan {
    address: SocketAddr,
    request: Vec<u8>,
    connections: u32,
    rate: u32,
    time: Duration,
    status: String,
}

#[derive(Default)]
struct Seen {
    micros: Vec<u64>,
    errors: u64,
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let Some(plan) = plan(&arguments) else {
        eprintln!("usage: open_loop IP:PORT REQUEST_FILE STATUS CONNECTIONS RATE SECONDS");
        std::process::exit(2);
    };
    let start = Instant::now() + Duration::from_millis(50);
    let mut all = Seen::default();
    thread::scope(|scope| {
        let plan = &plan;
        let running: Vec<_> = (0..plan.connections)
            .map(|index| scope.spawn(move || travel(plan, start, index)))
            .collect();
        for one in running {
            let seen = one.join().expect("a connection's thread does not panic");
            all.micros.extend(seen.micros);
            all.errors += seen.errors;
        }
    });
    all.micros.sort_unstable();
    let at = |part: usize| {
        let index = (all.micros.len() * part / 1000).min(all.micros.len().saturating_sub(1));
        all.micros.get(index).copied().unwrap_or(0)
    };
    println!(
        "{{\"requests\": {}, \"errors\": {}, \"p50_us\": {}, \"p99_us\": {}, \"p999_us\": {}}}",
        all.micros.len(),
        all.errors,
        at(500),
        at(990),
        at(999),
    );
}

fn plan(arguments: &[String]) -> Option<Plan> {
    let [address, request, status, connections, rate, seconds] = arguments else { return None };
    Some(Plan {
        address: address.parse().ok()?,
        request: fs::read(request).ok()?,
        connections: connections.parse().ok().filter(|count| *count > 0)?,
        rate: rate.parse().ok().filter(|rate| *rate > 0)?,
        time: Duration::from_secs(seconds.parse().ok()?),
        status: format!("HTTP/1.1 {status} "),
    })
}

/// All departures of one connection.
fn travel(plan: &Plan, start: Instant, index: u32) -> Seen {
    let mut seen = Seen::default();
    let period = Duration::from_secs(1) * plan.connections / plan.rate;
    let mut departure = start + period * index / plan.connections;
    let mut open = None;
    while departure < start + plan.time {
        thread::sleep(departure.saturating_duration_since(Instant::now()));
        match exchange(plan, &mut open) {
            Ok(()) => {
                let late = Instant::now().saturating_duration_since(departure).as_micros();
                seen.micros.push(u64::try_from(late).unwrap_or(u64::MAX));
            }
            Err(_) => {
                open = None;
                seen.errors += 1;
            }
        }
        departure += period;
    }
    seen
}

/// One request and its answer, on the open connection or a new one.
fn exchange(plan: &Plan, open: &mut Option<BufReader<TcpStream>>) -> io::Result<()> {
    let stream = match open {
        Some(stream) => stream,
        None => open.insert(BufReader::new(connect(plan.address)?)),
    };
    stream.get_mut().write_all(&plan.request)?;
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if !line.starts_with(&plan.status) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (mut length, mut closes) = (0, false);
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let field = line.trim_end().to_ascii_lowercase();
        match field.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
            Some(("connection", value)) => closes = value.trim() == "close",
            Some(_) => {}
            None => break,
        }
    }
    io::copy(&mut stream.by_ref().take(length), &mut io::sink())?;
    if closes {
        *open = None;
    }
    Ok(())
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(stream)
}
